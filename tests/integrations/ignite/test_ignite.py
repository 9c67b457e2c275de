"""The handler in real, tiny runs of Ignite's engines."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import Checkpoint, DiskSaver, EarlyStopping
from ignite.metrics import Accuracy
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, TensorDataset

from accuracy_from_weights.callbacks.ignite import AccuracyFromWeights
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
KEYS = [KEY, f"{KEY}_low", f"{KEY}_high", f"{KEY}_in_family"]
score = Checkpoint.get_default_score_fn(KEY)


def loader(shuffle: bool = False) -> DataLoader:
    x, y = digits(128)
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    return DataLoader(data, batch_size=32, shuffle=shuffle)


class Run:
    """A trainer, with an evaluator after each epoch where asked for, and what they leave."""

    def __init__(self, ours: AccuracyFromWeights | None, evaluate: bool = False) -> None:
        seed_all(0)
        self.model = torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(64, 8),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.2),
            torch.nn.Linear(8, 10),
        )
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        loss = torch.nn.functional.cross_entropy
        self.trainer = create_supervised_trainer(self.model, self.optimizer, loss)
        self.evaluator = create_supervised_evaluator(self.model, {"accuracy": Accuracy()})
        if ours is not None:
            assert ours.attach(self.trainer, self.model) is ours
        if evaluate:
            self.trainer.add_event_handler(
                Events.EPOCH_COMPLETED, lambda: self.evaluator.run(loader())
            )
        self.metrics: list[dict[str, float]] = []
        self.weights: list[dict[str, torch.Tensor]] = []
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.look)

    def look(self) -> None:
        self.metrics.append(dict(self.trainer.state.metrics))
        state = self.model.state_dict()
        self.weights.append({key: value.clone() for key, value in state.items()})

    def go(self, epochs: int = 2) -> Run:
        self.trainer.run(loader(shuffle=True), max_epochs=epochs)
        return self

    @property
    def estimates(self) -> list[float]:
        return [metrics[KEY] for metrics in self.metrics]


def assert_same(one, other) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("evaluate", [False, True])
def test_metrics_of_two_epochs_hold_the_estimate(evaluate):
    run = Run(AccuracyFromWeights(Scripted([0.25, 0.5])), evaluate).go()
    assert run.estimates == [0.25, 0.5]
    assert list(run.metrics[0]) == KEYS
    assert run.metrics[1][f"{KEY}_high"] == pytest.approx(0.6)
    assert run.evaluator.state.epoch == (1 if evaluate else 0)


@pytest.mark.parametrize("evaluate", [False, True])
def test_early_stopping_and_checkpoint_react_to_the_estimate(tmp_path, evaluate):
    run = Run(AccuracyFromWeights(Scripted([0.3, 0.7, 0.6, 0.5, 0.9])), evaluate)
    best = Checkpoint({"model": run.model}, DiskSaver(str(tmp_path)), score_function=score)
    early = EarlyStopping(2, score, run.trainer)
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED, best)
    if evaluate:
        # An evaluator's handlers may read the trainer's metrics, too.
        early.score_function = lambda evaluator: score(run.trainer)
        run.evaluator.add_event_handler(Events.COMPLETED, early)
    else:
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, early)
    run.go(9)
    assert run.estimates == [0.3, 0.7, 0.6, 0.5]
    saved = torch.load(Path(tmp_path) / best.last_checkpoint, weights_only=True)
    assert_same(saved, run.weights[1])


def test_a_rule_stops_and_says_why(capsys):
    ours = AccuracyFromWeights(Scripted([0.5]), stopping=Patience(2))
    assert len(Run(ours).go(9).estimates) == 3
    assert ours.decision.reason is StopReason.NO_IMPROVEMENT
    assert "stopped at step 2 (no improvement)" in capsys.readouterr().out


@pytest.mark.parametrize(("rule", "answers", "epochs", "reason"), RULES)
def test_every_rule_ends_a_run_for_its_reason(rule, answers, epochs, reason):
    ours = AccuracyFromWeights(Scripted(answers), stopping=rule())
    assert len(Run(ours).go(6).estimates) == epochs
    assert ours.decision.reason == reason


def test_between_the_epochs_that_are_due_the_last_value_is_repeated():
    ours = AccuracyFromWeights(Scripted([0.1, 0.2, 0.3]), every_n_epochs=2)
    assert Run(ours).go(5).estimates == [0.1, 0.1, 0.2, 0.2, 0.3]


def test_a_resumed_run_goes_on_with_value_and_rule(tmp_path):
    def handler(answers):
        return AccuracyFromWeights(Scripted(answers), 2, stopping=Patience(2))

    first = handler([0.9, 0.5])
    run = Run(first)
    parts = {"model": run.model, "trainer": run.trainer, "estimate": first}
    save = Checkpoint(parts, DiskSaver(str(tmp_path)))
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED, save)
    run.go(3)

    second = handler([0.4])
    run = Run(second)
    parts = {"model": run.model, "trainer": run.trainer, "estimate": second}
    Checkpoint.load_objects(parts, torch.load(tmp_path / save.last_checkpoint, weights_only=True))
    run.go(9)
    # Epoch 3 is not due and has the value of epoch 2; epoch 4 is the second without a rise.
    assert run.estimates == [0.5, 0.4]
    assert second.decision.stop


def test_a_new_run_starts_afresh():
    ours = AccuracyFromWeights(Scripted([0.9, 0.1]), stopping=Patience(1))
    assert len(Run(ours).go(5).estimates) == 2
    assert len(Run(ours).go(1).estimates) == 1
    assert not ours.decision.stop


@pytest.mark.parametrize("evaluate", [False, True])
def test_training_is_bit_for_bit_the_same_with_and_without_the_handler(evaluate):
    ends = []
    for ours in (None, AccuracyFromWeights(ReadsWeights(), stopping=Patience(99))):
        run = Run(ours, evaluate).go(3)
        arrays = [tensor.numpy().tobytes() for tensor in run.model.state_dict().values()]
        ends.append((arrays, run.trainer.state.output, random_states()))
    assert ends[0] == ends[1]


def test_when_every_estimate_fails_training_ends_as_without():
    plain = Run(None).go(4)
    ours = AccuracyFromWeights(Scripted([OSError("x")]), stopping=Patience(1))
    with pytest.warns(AccuracyFromWeightsWarning, match="failed and training goes on") as caught:
        run = Run(ours).go(4)
    assert len(ours_among(caught)) == 1
    assert run.metrics == [{}] * 4
    assert_same(run.model.state_dict(), plain.model.state_dict())


def test_while_nothing_is_known_a_handler_reads_0_and_a_logger_finds_nothing(tmp_path):
    run = Run(AccuracyFromWeights(Scripted([OSError("x"), OSError("x"), 0.3])))
    AccuracyFromWeights(Scripted([OSError("x"), 0.4]), name="other").attach(run.trainer, run.model)
    read, held = [], []

    def look():
        metrics = run.trainer.state.metrics
        read.append((score(run.trainer), metrics["other"]))
        held.append(sorted({KEY, "other"} & {*metrics}))

    run.trainer.add_event_handler(Events.EPOCH_COMPLETED, look)
    best = Checkpoint({"model": run.model}, DiskSaver(str(tmp_path)), score_function=score)
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED, best)
    with pytest.warns(AccuracyFromWeightsWarning, match="failed and training goes on"):
        run.go(3)
    assert read == [(0.0, 0.0), (0.0, 0.4), (0.3, 0.4)]
    assert held == [[], ["other"], [KEY, "other"]]
    assert_same(torch.load(tmp_path / best.last_checkpoint, weights_only=True), run.weights[2])
    with pytest.raises(KeyError, match="nobody's"):
        run.trainer.state.metrics["nobody's"]


def test_whatever_fails_training_ends_as_without_and_warns_once():
    def attached(run: Run, ours: AccuracyFromWeights) -> AccuracyFromWeights:
        return ours.attach(run.trainer, run.model, run.evaluator)

    def make() -> AccuracyFromWeights:
        return attached(Run(None), AccuracyFromWeights(**ALL_FEATURES, stopping=Patience(99)))

    def train(ours: AccuracyFromWeights | None):
        run = Run(None, evaluate=True)
        metrics = {"accuracy": 0.5, "loss": 2.0}
        run.trainer.add_event_handler(
            Events.EPOCH_COMPLETED, lambda: run.trainer.state.metrics.update(metrics)
        )
        if ours is not None:
            attached(run, ours)
        run.go()
        arrays = [tensor.numpy().tobytes() for tensor in run.model.state_dict().values()]
        return arrays, run.trainer.state.output, random_states()

    reached = check_every_fault(make, train)
    assert {"AccuracyFromWeights.training_metrics", "LogReader.validation"} <= reached


def test_the_forecast_is_among_the_metrics_and_early_stopping_reacts_to_it():
    run = Run(AccuracyFromWeights(Foreseeing(), forecast=True)).go(4)
    final = f"{KEY}_final"
    assert [metrics[final] for metrics in run.metrics] == [0.25, 0.5, 0.75, 1.0]
    run = Run(AccuracyFromWeights(Foreseeing(), forecast=True))
    by_iterations = 2 * len(loader())
    run.trainer.run(loader(shuffle=True), max_iters=by_iterations)
    assert [metrics[final] for metrics in run.metrics] == [0.5, 1.0]
    run = Run(AccuracyFromWeights(Foreseeing(), forecast=True))
    falling = Checkpoint.get_default_score_fn(final, score_sign=-1.0)
    stop = EarlyStopping(1, falling, run.trainer)
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED, stop)
    assert len(run.go(5).metrics) == 2


@pytest.mark.parametrize("misspelt", [True, False])
def test_a_misspelt_name_or_a_handler_before_ours_is_an_error_of_ignites(misspelt):
    run = Run(None)
    name = "acuracy_from_weights" if misspelt else KEY
    stop = EarlyStopping(1, Checkpoint.get_default_score_fn(name), run.trainer)
    if not misspelt:
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, stop)
    AccuracyFromWeights(Scripted([0.5])).attach(run.trainer, run.model)
    if misspelt:
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, stop)
    with pytest.raises(KeyError, match=name):
        run.go()


def test_sharded_weights_are_one_sentence_and_training_goes_on(tmp_path):
    with group_of_one(tmp_path) as mesh:
        run = Run(AccuracyFromWeights(ReadsWeights()))
        fully_shard(run.model, mesh=mesh)
        run.optimizer.param_groups[0]["params"] = list(run.model.parameters())
        with pytest.warns(AccuracyFromWeightsWarning, match="a sharded tensor") as caught:
            run.go()
    assert len(ours_among(caught)) == 1
    assert run.metrics == [{}, {}]


def test_bad_arguments_are_told_at_once():
    with pytest.raises(AccuracyFromWeightsError, match=r"`every_n_epochs=0` cannot be used"):
        AccuracyFromWeights(every_n_epochs=0)
    with pytest.raises(AccuracyFromWeightsError, match=r"pass an ignite\.engine\.Engine"):
        AccuracyFromWeights().attach(torch.nn.Linear(1, 1), None)


def test_the_number_of_training_samples_is_part_of_the_log(described):
    listener, run = Informed("weights+probes+log"), Run(None)
    run.trainer.add_event_handler(
        Events.EPOCH_COMPLETED, lambda: run.trainer.state.metrics.update(accuracy=0.5)
    )
    AccuracyFromWeights(listener, input_shape=(1, 8, 8)).attach(run.trainer, run.model)
    run.go()
    assert [evidence["log"]["samples"] for evidence in described] == [128, 128]


def test_training_examples_are_those_of_the_first_batches(described):
    run = Run(AccuracyFromWeights(predictor := Sampled())).go()
    assert [len(evidence["sample"]) for evidence in described] == [128] * 2
    # No accuracy is attached to the trainer. The sample is all of its data.
    accuracy = run.evaluator.run(loader()).metrics["accuracy"]
    assert predictor.logs[-1] == pytest.approx((accuracy, run.trainer.state.output))
    assert len(run.estimates) == 2


@pytest.mark.parametrize("order", ["evaluated first", "estimated first"])
def test_the_chart_shows_what_the_evaluator_finds(order):
    taken, run, measured = Taken(), Run(None), []
    ours = AccuracyFromWeights(Scripted([0.25, 0.5]), chart_to=taken)

    def evaluate() -> None:
        measured.append(run.evaluator.run(loader()).metrics["accuracy"])

    if order == "evaluated first":
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, evaluate)
    ours.attach(run.trainer, run.model, run.evaluator)
    if order == "estimated first":
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, evaluate)
    run.go()
    assert taken.estimates[-1] == [0.25, 0.5]
    assert taken.truths[-1] == measured
