"""The callback in real, tiny runs of the Trainer of transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from torch.distributed.fsdp import fully_shard
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments

from accuracy_from_weights.callbacks.huggingface import AccuracyFromWeights
from accuracy_from_weights.errors import AccuracyFromWeightsError, AccuracyFromWeightsWarning
from accuracy_from_weights.stopping import Patience, StopReason
from tests.callbacks.charts import Taken
from tests.callbacks.faults import ALL_FEATURES, check_every_fault
from tests.callbacks.scripted import (
    RULES,
    Foreseeing,
    Informed,
    ReadsWeights,
    Sampled,
    Scripted,
    digits,
    ours_among,
    random_states,
    seed_all,
)
from tests.callbacks.sharding import group_of_one

KEY = "accuracy_from_weights"
FINAL = f"{KEY}_final"
KEYS = [KEY, f"{KEY}_low", f"{KEY}_high", f"{KEY}_in_family"]
EVALUATION = {"eval_strategy": "epoch", "save_strategy": "epoch"}
BY_ESTIMATE = {"metric_for_best_model": KEY, "load_best_model_at_end": True}
STEPS = 4  # an epoch: 128 images in batches of 32


class Config(transformers.PretrainedConfig):
    model_type = "digits"


class Network(transformers.PreTrainedModel):
    config_class = Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.hidden = torch.nn.Linear(64, 8)
        self.dropout = torch.nn.Dropout(0.2)
        self.last = torch.nn.Linear(8, 10)
        self.post_init()

    def forward(self, x, labels=None):
        logits = self.last(self.dropout(torch.relu(self.hidden(x))))
        if labels is None:
            return {"logits": logits}
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


class Snapshots(TrainerCallback):
    def __init__(self) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []

    def on_epoch_end(self, args, state, control, model, **kwargs):
        self.weights.append({key: value.clone() for key, value in model.state_dict().items()})


def dataset() -> list[dict]:
    x, y = digits(128)
    return [
        {"x": torch.from_numpy(image.ravel()), "labels": int(label)}
        for image, label in zip(x, y, strict=True)
    ]


def make(
    folder: Path, callbacks: list, epochs: int = 2, model=None, compute_metrics=None, **arguments
) -> Trainer:
    seed_all(0)
    data = dataset()
    arguments = {
        "num_train_epochs": epochs,
        "per_device_train_batch_size": 32,
        "learning_rate": 0.05,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_strategy": "epoch",
        **arguments,
    }
    return Trainer(
        Network(Config()) if model is None else model,
        TrainingArguments(str(folder), **arguments),
        train_dataset=data,
        eval_dataset=data[:32] if arguments.get("eval_strategy") else None,
        callbacks=callbacks,
        compute_metrics=compute_metrics,
    )


def train(folder: Path, callbacks: list, epochs: int = 2, **arguments) -> Trainer:
    trainer = make(folder, callbacks, epochs, **arguments)
    trainer.train()
    return trainer


def logged(trainer: Trainer, key: str) -> list[float]:
    return [entry[key] for entry in trainer.state.log_history if key in entry]


def assert_same(one, other) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("arguments", [{}, {"eval_strategy": "epoch"}])
def test_a_run_of_two_epochs_logs_the_four_numbers(tmp_path, arguments):
    predictor = Scripted([0.25, 0.5])
    trainer = train(tmp_path, [AccuracyFromWeights(predictor)], **arguments)
    assert logged(trainer, KEY) == [0.25, 0.5]
    assert logged(trainer, f"{KEY}_low") == pytest.approx([0.15, 0.4])
    assert logged(trainer, f"{KEY}_in_family") == [1.0, 1.0]
    assert [e["step"] for e in trainer.state.log_history if KEY in e] == [STEPS, 2 * STEPS]
    # Logging of our own does not swallow the training loss that is due at the same step.
    assert len(logged(trainer, "loss")) == 2
    assert predictor.calls == 2


def test_metrics_of_an_evaluation_hold_the_estimate(tmp_path):
    seen = []

    class Look(TrainerCallback):
        def on_evaluate(self, args, state, control, metrics, **kwargs):
            seen.append({key: metrics.get(f"eval_{key}") for key in KEYS})

    train(tmp_path, [AccuracyFromWeights(Scripted([0.25, 0.5])), Look()], **EVALUATION)
    assert [metrics[KEY] for metrics in seen] == [0.25, 0.5]
    assert all(type(value) is float for metrics in seen for value in metrics.values())


# With "best", transformers 4 saves the best model and then does not know where it is.
AFTER_EVALUATION = ["epoch", "best"] if transformers.__version__ >= "5" else ["epoch"]


@pytest.mark.parametrize("save_strategy", AFTER_EVALUATION)
def test_early_stopping_and_the_best_model_react_to_the_estimate(tmp_path, save_strategy):
    snapshots = Snapshots()
    ours = AccuracyFromWeights(Scripted([0.3, 0.7, 0.6, 0.5, 0.9]))
    callbacks = [ours, EarlyStoppingCallback(2), snapshots]
    arguments = {**EVALUATION, **BY_ESTIMATE, "save_strategy": save_strategy}
    trainer = train(tmp_path, callbacks, 8, **arguments)
    assert len(snapshots.weights) == 4
    assert trainer.state.best_metric == 0.7
    assert Path(trainer.state.best_model_checkpoint).name == f"checkpoint-{2 * STEPS}"
    assert_same(trainer.model.state_dict(), snapshots.weights[1])


def test_without_evaluation_a_rule_stops_and_the_best_model_is_kept_and_loaded(tmp_path, capsys):
    snapshots = Snapshots()
    ours = AccuracyFromWeights(Scripted([0.3, 0.7, 0.6, 0.5, 0.9]), stopping=Patience(2))
    trainer = train(
        tmp_path, [ours, snapshots], 8, save_strategy="best", eval_strategy="no", **BY_ESTIMATE
    )
    assert len(snapshots.weights) == 4
    assert ours.decision.reason is StopReason.NO_IMPROVEMENT
    assert "stopped at step 3 (no improvement)" in capsys.readouterr().out
    assert Path(trainer.state.best_model_checkpoint).name == f"checkpoint-{2 * STEPS}"
    assert_same(trainer.model.state_dict(), snapshots.weights[1])


@pytest.mark.parametrize(("rule", "answers", "epochs", "reason"), RULES)
def test_every_rule_ends_a_run_for_its_reason(tmp_path, rule, answers, epochs, reason):
    ours = AccuracyFromWeights(Scripted(answers), stopping=rule())
    assert train(tmp_path, [ours], 6).state.epoch == epochs
    assert ours.decision.reason == reason


def test_evaluation_within_an_epoch_gets_estimates_of_its_own(tmp_path):
    ours = AccuracyFromWeights(Scripted([0.1, 0.2, 0.3, 0.4]))
    trainer = train(tmp_path, [ours], eval_strategy="steps", eval_steps=STEPS // 2)
    assert logged(trainer, KEY) == [0.1, 0.2, 0.3, 0.4]


def test_between_the_epochs_that_are_due_the_last_value_is_repeated(tmp_path):
    trainer = train(tmp_path, [AccuracyFromWeights(Scripted([0.1, 0.2, 0.3]), 2)], 5)
    assert logged(trainer, KEY) == [0.1, 0.1, 0.2, 0.2, 0.3]


def test_evaluations_after_training_are_left_alone(tmp_path):
    trainer = train(tmp_path, [AccuracyFromWeights(Scripted([0.5]))], eval_strategy="epoch")
    assert f"eval_{KEY}" not in trainer.evaluate()


def test_a_resumed_run_goes_on_with_value_and_rule(tmp_path):
    def callbacks(answers):
        return AccuracyFromWeights(Scripted(answers), 2, stopping=Patience(2))

    train(tmp_path, [callbacks([0.9, 0.5])], 3, save_strategy="epoch")
    ours, snapshots = callbacks([0.4]), Snapshots()
    trainer = make(tmp_path, [ours, snapshots], 9, save_strategy="epoch")
    trainer.train(resume_from_checkpoint=True)
    assert len(snapshots.weights) == 2
    assert ours.decision.reason is StopReason.NO_IMPROVEMENT
    assert logged(trainer, KEY) == [0.9, 0.9, 0.5, 0.5, 0.4]
    state = json.loads((tmp_path / f"checkpoint-{3 * STEPS}/trainer_state.json").read_text())
    assert state["stateful_callbacks"][f"AccuracyFromWeights[{KEY}]"]["attributes"]["values"]


def test_training_is_bit_for_bit_the_same_with_and_without_the_callback(tmp_path):
    ends = []
    for callbacks in ([], [AccuracyFromWeights(ReadsWeights(), stopping=Patience(99))]):
        trainer = train(tmp_path, callbacks, **EVALUATION)
        arrays = [tensor.numpy().tobytes() for tensor in trainer.model.state_dict().values()]
        logs = [logged(trainer, key) for key in ("loss", "eval_loss", "learning_rate")]
        ends.append((arrays, logs, random_states()))
    assert ends[0] == ends[1]


def test_whatever_fails_training_ends_as_without_and_warns_once(tmp_path):
    def measure(prediction):
        return {"accuracy": float((prediction[0].argmax(-1) == prediction[1]).mean())}

    def run(callback: AccuracyFromWeights | None):
        trainer = train(
            tmp_path,
            [] if callback is None else [callback],
            compute_metrics=measure,
            eval_strategy="epoch",
            logging_strategy="steps",
            logging_steps=1,
        )
        arrays = [tensor.numpy().tobytes() for tensor in trainer.model.state_dict().values()]
        return arrays, [logged(trainer, key) for key in ("loss", "eval_loss")], random_states()

    def make() -> AccuracyFromWeights:
        # The Trainer logs no training accuracy; its learning rate is a fraction, too.
        keys = ("learning_rate", "loss")
        return AccuracyFromWeights(**ALL_FEATURES, stopping=Patience(99), log_keys=keys)

    reached = check_every_fault(make, run)
    assert {"AccuracyFromWeights._log", "AccuracyFromWeights._keep_state", "caller"} <= reached
    assert {"LogReader.validation", "AccuracyFromWeights._watch"} <= reached


@pytest.mark.parametrize("arguments", [{}, {**EVALUATION, **BY_ESTIMATE}])
def test_when_every_estimate_fails_training_ends_as_without(tmp_path, arguments):
    plain = train(tmp_path / "plain", [], 3)
    callbacks = [AccuracyFromWeights(Scripted([OSError("x")]))]
    if arguments:
        callbacks.append(EarlyStoppingCallback(1))
    with pytest.warns(AccuracyFromWeightsWarning, match="failed and training goes on") as caught:
        trainer = train(tmp_path / "ours", callbacks, 3, **arguments)
    assert len(ours_among(caught)) == 1
    assert trainer.state.epoch == 3.0
    # An accuracy that was never known is logged only where the Trainer would miss it.
    assert logged(trainer, KEY) == ([0.0, 0.0, 0.0] if arguments else [])
    if not arguments:
        assert_same(trainer.model.state_dict(), plain.model.state_dict())


def test_no_model_is_best_by_an_accuracy_that_was_never_known(tmp_path):
    snapshots = Snapshots()
    ours = AccuracyFromWeights(Scripted([OSError("x")]))
    with pytest.warns(AccuracyFromWeightsWarning, match="failed"):
        trainer = train(tmp_path, [ours, snapshots], 3, **EVALUATION, **BY_ESTIMATE)
    assert trainer.state.best_model_checkpoint is None
    assert_same(trainer.model.state_dict(), snapshots.weights[-1])


def test_evaluations_whose_estimate_failed_do_not_count_against_patience(tmp_path):
    lost = OSError("x")
    ours = AccuracyFromWeights(Scripted([lost, 0.5, lost, lost, lost, 0.4, 0.4, 0.4]))
    callbacks = [ours, EarlyStoppingCallback(2)]
    with pytest.warns(AccuracyFromWeightsWarning, match="failed"):
        trainer = train(tmp_path, callbacks, 12, **EVALUATION, **BY_ESTIMATE)
    assert trainer.state.epoch == 7.0


@pytest.mark.parametrize(
    ("callbacks", "arguments", "expected"),
    [
        (lambda ours: [EarlyStoppingCallback(9), ours], {}, "EarlyStoppingCallback stands before"),
        (lambda ours: [ours], {"greater_is_better": False}, "prefers the worst epoch"),
    ],
)
def test_others_that_cannot_use_the_estimate_are_named_once(
    tmp_path, callbacks, arguments, expected
):
    ours = AccuracyFromWeights(Scripted([0.5]))
    with pytest.warns(AccuracyFromWeightsWarning, match=expected) as caught:
        train(tmp_path, callbacks(ours), **EVALUATION, **BY_ESTIMATE, **arguments)
    assert len(ours_among(caught)) == 1


@pytest.mark.parametrize(("plan", "epochs"), [({}, 4), ({"max_steps": 2 * STEPS}, 2)])
def test_the_forecast_is_logged_for_the_share_of_the_plan_that_is_done(tmp_path, plan, epochs):
    trainer = train(tmp_path, [AccuracyFromWeights(Foreseeing(), forecast=True)], 4, **plan)
    assert logged(trainer, FINAL) == [(epoch + 1) / epochs for epoch in range(epochs)]
    assert logged(trainer, f"{FINAL}_high") == [1.0] * epochs


def test_early_stopping_reacts_to_the_forecast_and_not_to_one_that_failed(tmp_path):
    arguments = {**EVALUATION, **BY_ESTIMATE, "metric_for_best_model": FINAL}
    ours = AccuracyFromWeights(Foreseeing(lost=[0.4, 0.6]), forecast=True)
    with pytest.warns(AccuracyFromWeightsWarning, match="the forecast of epoch 1 failed"):
        trainer = train(tmp_path, [ours, EarlyStoppingCallback(1)], 5, **arguments)
    assert logged(trainer, FINAL) == pytest.approx([0.2, 0.2, 0.2, 0.8, 1.0])
    assert Path(trainer.state.best_model_checkpoint).name == f"checkpoint-{5 * STEPS}"
    ours = AccuracyFromWeights(Foreseeing(), forecast=True)
    trainer = train(tmp_path, [ours, EarlyStoppingCallback(1, 0.3)], 5, **arguments)
    assert trainer.state.epoch == 2.0


def test_sharded_weights_are_one_sentence_and_training_goes_on(tmp_path):
    with group_of_one(tmp_path) as mesh:
        ours = AccuracyFromWeights(ReadsWeights())
        model = fully_shard(Network(Config()), mesh=mesh)
        with pytest.warns(AccuracyFromWeightsWarning, match="a sharded tensor") as caught:
            trainer = train(tmp_path, [ours], model=model)
    assert len(ours_among(caught)) == 1
    assert logged(trainer, KEY) == []


def test_a_misspelt_metric_is_named_before_the_trainer_stumbles_over_it(tmp_path):
    ours = AccuracyFromWeights(Scripted([0.5]))
    with (
        pytest.warns(AccuracyFromWeightsWarning, match="Did you mean 'accuracy_from_weights'"),
        pytest.raises(KeyError, match="acuracy"),
    ):
        train(tmp_path, [ours], **EVALUATION, metric_for_best_model="acuracy_from_weights")


def test_bad_arguments_are_told_at_construction():
    with pytest.raises(AccuracyFromWeightsError, match=r"`every_n_epochs=0` cannot be used"):
        AccuracyFromWeights(every_n_epochs=0)


def test_the_number_of_training_samples_is_part_of_the_log(tmp_path, described):
    listener = Informed("weights+probes+log")
    # The Trainer logs no training accuracy; its learning rate is a fraction, too.
    ours = AccuracyFromWeights(listener, input_shape=(64,), log_keys=("learning_rate", "loss"))
    train(tmp_path, [ours], logging_strategy="steps", logging_steps=1)
    assert [evidence["log"]["samples"] for evidence in described] == [128, 128]


def test_training_examples_are_those_of_the_first_batches(tmp_path, described):
    trainer = train(tmp_path, [AccuracyFromWeights(predictor := Sampled())])
    assert [len(evidence["sample"]) for evidence in described] == [128] * 2
    # The Trainer logs no accuracy, and the loss of this epoch after it. All data is in the sample.
    x, y = (torch.from_numpy(array) for array in digits(128))
    with torch.no_grad():
        right = trainer.model.eval()(x.flatten(1))["logits"].argmax(1) == y
    assert predictor.logs[-1] == pytest.approx(
        (float(right.float().mean()), logged(trainer, "loss")[0])
    )
    assert len(logged(trainer, KEY)) == 2


def test_the_chart_shows_what_the_evaluation_finds(tmp_path):
    taken = Taken()
    ours = AccuracyFromWeights(Scripted([0.25, 0.5]), chart_to=taken)
    measured = iter([0.3, 0.6])
    trainer = train(
        tmp_path,
        [ours],
        eval_strategy="epoch",
        compute_metrics=lambda predicted: {"accuracy": next(measured)},
    )
    assert taken.estimates == [[0.25], [0.25, 0.5]]
    assert taken.truths[-1] == [0.3, 0.6]
    assert logged(trainer, KEY) == [0.25, 0.5]
