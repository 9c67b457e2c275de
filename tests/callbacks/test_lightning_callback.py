"""The Lightning callback in real, tiny Trainer runs, under both of the framework's names."""

from __future__ import annotations

import csv

import lightning.pytorch
import pytest
import pytorch_lightning
import torch

from accuracy_from_weights.callbacks.lightning import AccuracyFromWeights
from accuracy_from_weights.errors import AccuracyFromWeightsError, AccuracyFromWeightsWarning
from accuracy_from_weights.stopping import Patience, StopReason
from tests.callbacks.lightning_runs import (
    KEY,
    KEYS,
    QUIET,
    assert_same,
    fit,
    loader,
    make_network,
    saver,
    stopper,
)
from tests.callbacks.scripted import (
    RULES,
    Answer,
    ReadsWeights,
    Scripted,
    answer,
    ours_among,
    random_states,
    untrained_accuracy,
)

pytestmark = pytest.mark.filterwarnings(*QUIET)


@pytest.fixture
def root(request):
    """The newer of the framework's two names, where a test is not run for `each_root`."""
    return getattr(request, "param", lightning.pytorch)


each_root = pytest.mark.parametrize(
    "root", [lightning.pytorch, pytorch_lightning], indirect=True, ids=lambda root: root.__name__
)


@each_root
def test_it_is_a_callback_of_both_roots_and_needs_no_list(root):
    ours = AccuracyFromWeights(Scripted([0.3, 0.6]))
    assert isinstance(ours, root.Callback)
    trainer, _ = fit(root, ours)
    assert trainer.callback_metrics[KEY] == pytest.approx(0.6)


@pytest.mark.parametrize("validate", [False, True])
def test_all_four_numbers_are_metrics_of_the_trainer(root, validate):
    predictor = Scripted([answer(0.3), answer(0.95)])
    trainer, _ = fit(root, [AccuracyFromWeights(predictor)], validate=validate)
    numbers = [float(trainer.callback_metrics[key]) for key in KEYS]
    assert numbers == pytest.approx([0.95, 0.85, 1.0, 1.0])
    assert predictor.calls == 3
    assert ("val_loss" in trainer.callback_metrics) == validate


@each_root
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("when", [{"validate": False}, {"validate": True}])
def test_early_stopping_stops_on_the_estimate_wherever_it_stands(root, place, when):
    ours = AccuracyFromWeights(Scripted([0.3, 0.7, 0.6, 0.6, 0.9]))
    callbacks = [ours, stopper(root)] if place == "before" else [stopper(root), ours]
    _, network = fit(root, callbacks, epochs=8, **when)
    assert sorted(network.snapshots) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("schedule", "answers"),
    [
        ({"check_val_every_n_epoch": 2}, [0.3, 0.5, 0.9, 0.4]),
        ({"val_check_interval": 0.5}, [0.3, 0.5, 0.4]),
        # Validation after steps 3, 6, 9, ... and the ends of epochs after 4, 8, ...
        (
            {"val_check_interval": 3, "check_val_every_n_epoch": None},
            [0.3, 0.9, 0.5, 0.9, 0.4],
        ),
    ],
)
def test_early_stopping_and_checkpoints_after_validation_find_the_key(
    root, tmp_path, schedule, answers
):
    # Both act at the end of a validation run here, before the training epoch has ended.
    ours = AccuracyFromWeights(Scripted(answers))
    early = stopper(root, check_on_train_epoch_end=False)
    best = saver(root, tmp_path, save_on_train_epoch_end=False)
    trainer, _ = fit(
        root, [early, best, ours], 20, validate=True, enable_checkpointing=True, **schedule
    )
    assert early.stopped_epoch > 0
    assert trainer.current_epoch < 20
    assert float(best.best_model_score) == pytest.approx(0.5)


def test_each_step_is_estimated_once_although_two_hooks_log_it(root):
    predictor = Scripted([0.5])
    fit(
        root,
        [AccuracyFromWeights(predictor)],
        epochs=2,
        validate=True,
        val_check_interval=0.5,
    )
    # Half way and at the end of each of two epochs; not in the sanity check before training.
    assert predictor.calls == 4


def test_nothing_is_logged_outside_fit(root):
    ours = AccuracyFromWeights(Scripted([0.5]))
    trainer, network = fit(root, [ours], epochs=1, validate=True)
    trainer.validate(network, loader(shuffle=False), verbose=False)
    assert list(trainer.callback_metrics) == ["val_loss"]


@each_root
def test_the_checkpoint_of_the_best_estimate_is_kept(root, tmp_path):
    best = saver(root, tmp_path)
    ours = AccuracyFromWeights(Scripted([0.3, 0.8, 0.5, 0.7]))
    _, network = fit(root, [best, ours], 4, enable_checkpointing=True)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch=1.ckpt"]
    saved = torch.load(best.best_model_path, weights_only=True)
    assert_same(saved["state_dict"], network.snapshots[1])


@pytest.mark.parametrize("validate", [False, True])
def test_loggers_hold_each_estimate_once(root, tmp_path, validate):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    loggers = [
        root.loggers.CSVLogger(tmp_path, name="csv", version=0),
        root.loggers.TensorBoardLogger(tmp_path, name="tb", version=0),
    ]
    ours = AccuracyFromWeights(Scripted([0.25, 0.5]), every_n_epochs=2)
    fit(root, [ours], 4, validate=validate, logger=loggers)
    with (tmp_path / "csv/version_0/metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row[KEY]]
    assert [float(row[KEY]) for row in rows] == [0.25, 0.25, 0.5, 0.5]
    assert all(row[key] for row in rows for key in KEYS)
    events = EventAccumulator(str(tmp_path / "tb/version_0"))
    events.Reload()
    assert [event.value for event in events.Scalars(KEY)] == [0.25, 0.25, 0.5, 0.5]


def test_loggers_hold_what_is_estimated_within_an_epoch(root, tmp_path):
    logger = root.loggers.CSVLogger(tmp_path, name="csv", version=0)
    ours = AccuracyFromWeights(Scripted([0.1, 0.2, 0.3, 0.4]))
    fit(root, [ours], 2, validate=True, val_check_interval=0.5, logger=logger)
    with (tmp_path / "csv/version_0/metrics.csv").open() as file:
        values = [float(row[KEY]) for row in csv.DictReader(file) if row[KEY]]
    assert sorted(set(values)) == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_the_progress_bar_shows_the_accuracy_alone(root):
    trainer, _ = fit(root, [AccuracyFromWeights(Scripted([0.5]))], 1)
    assert [key for key in trainer.progress_bar_metrics if key.startswith(KEY)] == [KEY]


@each_root
def test_two_callbacks_with_different_names_keep_their_states_apart(root, tmp_path):
    ours = [
        AccuracyFromWeights(Scripted([0.1, 0.2]), name="one"),
        AccuracyFromWeights(Scripted([0.8, 0.9]), name="two"),
    ]
    trainer, _ = fit(root, [*ours, stopper(root, monitor="two", patience=1)], 5)
    assert float(trainer.callback_metrics["one"]) == pytest.approx(0.2)
    assert float(trainer.callback_metrics["two_low"]) == pytest.approx(0.8)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    states = torch.load(tmp_path / "two.ckpt", weights_only=True)["callbacks"]
    assert {"AccuracyFromWeights[one]", "AccuracyFromWeights[two]"} <= set(states)
    with pytest.raises(RuntimeError, match="state_key"):
        fit(root, [AccuracyFromWeights(), AccuracyFromWeights()])


@each_root
def test_a_resumed_run_goes_on_with_value_and_rule(root, tmp_path):
    def callbacks(answers):
        ours = AccuracyFromWeights(Scripted(answers), every_n_epochs=2, stopping=Patience(2))
        return [ours, stopper(root, patience=9)]

    trainer, _ = fit(root, callbacks([0.9, 0.5]), 3)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    ours, early = callbacks([0.4])
    trainer, network = fit(root, [ours, early], 9, ckpt_path=tmp_path / "run.ckpt")
    # Epoch 3 is not due and has the value of epoch 2; epoch 4 is, and is the second without a rise.
    assert sorted(network.snapshots) == [3, 4]
    assert ours.decision.reason is StopReason.NO_IMPROVEMENT
    assert early.best_score == pytest.approx(0.9)
    assert early.wait_count == 4


def test_a_new_run_of_the_same_callback_starts_afresh(root):
    ours = AccuracyFromWeights(Scripted([0.9, 0.1]), stopping=Patience(1))
    assert sorted(fit(root, [ours], 5)[1].snapshots) == [0, 1]
    assert ours.decision.stop
    fit(root, [ours], 1)
    assert not ours.decision.stop


def test_a_stopping_rule_ends_the_run_and_says_why(root, capsys):
    ours = AccuracyFromWeights(Scripted([0.5]), stopping=Patience(2))
    _, network = fit(root, [ours], 9)
    assert sorted(network.snapshots) == [0, 1, 2]
    assert "stopped at step 2 (no improvement)" in capsys.readouterr().out


@pytest.mark.parametrize(("rule", "answers", "epochs", "reason"), RULES)
def test_every_rule_ends_a_run_for_its_reason(root, rule, answers, epochs, reason):
    ours = AccuracyFromWeights(Scripted(answers), stopping=rule())
    _, network = fit(root, [ours], 6)
    assert sorted(network.snapshots) == list(range(epochs))
    assert ours.decision.reason == reason


@each_root
@pytest.mark.parametrize("validate", [False, True])
def test_training_is_bit_for_bit_the_same_with_and_without_the_callback(root, validate):
    ends = []
    for callbacks in ([], [AccuracyFromWeights(ReadsWeights(), stopping=Patience(99))]):
        trainer, network = fit(root, callbacks, validate=validate)
        arrays = [tensor.numpy().tobytes() for tensor in network.state_dict().values()]
        modes = [module.training for module in network.modules()]
        loss = float(trainer.callback_metrics["loss"])
        ends.append((arrays, modes, loss, random_states()))
    assert ends[0] == ends[1]


def test_a_network_that_diverges_gets_the_estimate_of_an_untrained_one(root, predictor_file):
    ours = AccuracyFromWeights(predictor_file)
    # Lightning's EarlyStopping ends a run at the first number that is not finite.
    early = stopper(root, patience=3, check_finite=True)
    network = make_network(root, learning_rate=1e30)
    with pytest.warns(AccuracyFromWeightsWarning, match="NaN or infinity") as caught:
        trainer, _ = fit(root, [ours, early], 9, network=network)
    assert len(ours_among(caught)) == 1
    assert sorted(network.snapshots) == [0, 1, 2, 3]
    untrained = untrained_accuracy(predictor_file)
    assert float(trainer.callback_metrics[KEY]) == pytest.approx(untrained)


def fail(*args, **kwargs):
    raise ZeroDivisionError("injected")


class Broken(Patience):
    def update(self, estimate, step):
        raise ZeroDivisionError("a rule of the user's own")


class Touchy(lightning.pytorch.Callback):
    """A callback of the user's own that does not like to be looked at."""

    @property
    def monitor(self):
        raise ZeroDivisionError("no monitor here")


FAULTS = {
    "estimate": lambda: [AccuracyFromWeights(Scripted([ZeroDivisionError("x")]))],
    "not finite": lambda: [AccuracyFromWeights(Scripted([Answer(float("nan"))]))],
    "load": lambda: [AccuracyFromWeights()],
    "read": lambda: [AccuracyFromWeights(ReadsWeights())],
    "rule": lambda: [AccuracyFromWeights(Scripted([0.5]), stopping=Broken())],
    "neighbour": lambda: [AccuracyFromWeights(Scripted([0.5])), Touchy()],
}


@pytest.mark.parametrize("validate", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_fails_training_ends_as_without_and_warns_once(root, fault, validate, monkeypatch):
    monkeypatch.setattr("accuracy_from_weights.predictor.pretrained.load_predictor", fail)
    if fault == "read":
        monkeypatch.setattr("accuracy_from_weights.features.describing.read_weights", fail)
    _, plain = fit(root, [], validate=validate)
    with pytest.warns(AccuracyFromWeightsWarning, match="failed and training goes on") as caught:
        trainer, network = fit(root, FAULTS[fault](), validate=validate)
    assert len(ours_among(caught)) == 1
    assert_same(network.state_dict(), plain.state_dict())
    # An accuracy that was never known is not logged where nobody would miss it.
    known = [key for key in KEYS if key in trainer.callback_metrics]
    assert len(known) == (0 if fault in ("estimate", "not finite", "load", "read") else 4)
    assert all(torch.isfinite(trainer.callback_metrics[key]) for key in known)


def test_a_module_that_cannot_log_ends_no_run(root, monkeypatch):
    network = make_network(root)
    log = network.log

    def touchy_log(key, *args, **kwargs):
        if key in KEYS:
            raise ZeroDivisionError("injected")
        log(key, *args, **kwargs)

    monkeypatch.setattr(network, "log", touchy_log)
    with pytest.warns(AccuracyFromWeightsWarning, match="logging failed") as caught:
        trainer, _ = fit(root, [AccuracyFromWeights(Scripted([0.5]))], network=network)
    assert len(ours_among(caught)) == 1
    assert trainer.current_epoch == 3


@pytest.mark.parametrize("when", [{}, {"validate": True}])
@pytest.mark.parametrize("patience", [1, 2])
def test_epochs_whose_estimate_failed_do_not_count_against_patience(root, when, patience):
    lost = OSError("x")
    answers = [lost, lost, 0.5, lost, lost, lost, 0.6, *[0.4] * 9]
    early = stopper(root, patience=patience)
    with pytest.warns(AccuracyFromWeightsWarning, match="failed"):
        _, network = fit(root, [early, AccuracyFromWeights(Scripted(answers))], 16, **when)
    assert max(network.snapshots) == 6 + patience


def test_a_checkpoint_by_an_estimate_that_always_fails_ends_no_run(root, tmp_path):
    ours = AccuracyFromWeights(Scripted([OSError("x")]))
    callbacks = [ours, saver(root, tmp_path), stopper(root, patience=1)]
    with pytest.warns(AccuracyFromWeightsWarning, match="failed"):
        _, network = fit(root, callbacks, 4, validate=True, enable_checkpointing=True)
    assert sorted(network.snapshots) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (lambda root: stopper(root, mode="min"), "EarlyStopping monitors .* prefers the worst"),
        (
            lambda root: stopper(root, monitor="val_accuracy_from_weights", strict=False),
            "Did you mean 'accuracy_from_weights'",
        ),
    ],
)
def test_callbacks_that_cannot_use_the_estimate_are_named_once(root, other, expected):
    with pytest.warns(AccuracyFromWeightsWarning, match=expected) as caught:
        fit(root, [AccuracyFromWeights(Scripted([0.5])), other(root)], 2)
    assert len(ours_among(caught)) == 1


def test_bad_arguments_are_told_at_construction():
    with pytest.raises(AccuracyFromWeightsError, match=r"`every_n_epochs=-1` cannot be used"):
        AccuracyFromWeights(every_n_epochs=-1)
