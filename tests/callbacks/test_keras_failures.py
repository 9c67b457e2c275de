"""What fails inside the Keras callback stays inside: `fit` ends as without it, with a warning."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from accuracy_from_weights.callbacks.keras import AccuracyFromWeights
from accuracy_from_weights.errors import AccuracyFromWeightsWarning
from accuracy_from_weights.stopping import Patience
from tests.callbacks import keras_runs
from tests.callbacks.keras_runs import KEY, Snapshots, assert_same, fit, network
from tests.callbacks.scripted import Answer, ReadsWeights, Scripted, ours_among


class Broken(Patience):
    def update(self, estimate, step):
        raise ZeroDivisionError("a rule of the user's own")


class BrokenReset(Patience):
    broken = False

    def reset(self):
        if self.broken:
            raise ZeroDivisionError("a rule of the user's own")
        super().reset()
        self.broken = True


class Touchy(keras.callbacks.Callback):
    """A callback of the user's own that does not like to be looked at."""

    @property
    def monitor(self):
        raise ZeroDivisionError("no monitor here")


def fail(*args, **kwargs):
    raise ZeroDivisionError("injected")


FAULTS = {
    "estimate": (lambda patch: [AccuracyFromWeights(Scripted([ZeroDivisionError("x")]))], 1),
    "not finite": (lambda patch: [AccuracyFromWeights(Scripted([Answer(float("nan"))]))], 1),
    "no estimate": (lambda patch: [AccuracyFromWeights(Scripted([Answer(None)]))], 1),
    "memory": (lambda patch: [AccuracyFromWeights(Scripted([MemoryError()]))], 1),
    "load": (
        lambda patch: (
            patch.setattr("accuracy_from_weights.predictor.pretrained.load_predictor", fail),
            [AccuracyFromWeights()],
        )[1],
        1,
    ),
    "read": (
        lambda patch: (
            patch.setattr("accuracy_from_weights.features.describing.read_weights", fail),
            [AccuracyFromWeights(ReadsWeights())],
        )[1],
        1,
    ),
    "rule": (lambda patch: [AccuracyFromWeights(Scripted([0.5]), stopping=Broken())], 1),
    "reset": (lambda patch: [AccuracyFromWeights(Scripted([0.5]), stopping=BrokenReset())], 1),
    "neighbour": (lambda patch: [AccuracyFromWeights(Scripted([0.5])), Touchy()], 1),
    "patience": (
        lambda patch: (
            patch.setattr("accuracy_from_weights.callbacks.base.hold_patience", fail),
            [AccuracyFromWeights(Scripted([0.5, OSError("x")]))],
        )[1],
        2,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_fails_training_ends_as_without_and_warns_once(fault, monkeypatch):
    plain = network(seed=3)
    expected = fit(plain, [], epochs=3).history
    model = network(seed=3)
    make, n_warnings = FAULTS[fault]
    with pytest.warns(AccuracyFromWeightsWarning, match="failed and training goes on") as caught:
        history = fit(model, make(monkeypatch), epochs=3).history
    assert len(ours_among(caught)) == n_warnings
    quoted = [one.filename for one in caught if one.category is AccuracyFromWeightsWarning]
    assert set(quoted) == {keras_runs.__file__}  # where `fit` is called, and no line of Keras'
    assert {key: history[key] for key in expected} == expected
    assert_same(model.get_weights(), plain.get_weights())
    assert all(np.isfinite(value) for values in history.values() for value in values)


@pytest.mark.filterwarnings("ignore:Early stopping conditioned on metric")
def test_early_stopping_does_not_end_a_run_whose_estimates_all_fail():
    plain = network(seed=3)
    fit(plain, [], epochs=5)
    model = network(seed=3)
    stopper = keras.callbacks.EarlyStopping(KEY, mode="max", patience=1, restore_best_weights=True)
    with pytest.warns(AccuracyFromWeightsWarning, match="failed"):
        history = fit(model, [AccuracyFromWeights(Scripted([OSError("x")])), stopper], epochs=5)
    assert history.epoch == [0, 1, 2, 3, 4]
    assert KEY not in history.history
    assert_same(model.get_weights(), plain.get_weights())


@pytest.mark.parametrize("patience", [0, 1, 2])
def test_epochs_whose_estimate_failed_do_not_count_against_patience(patience):
    lost = OSError("x")
    answers = [0.5, lost, lost, lost, 0.6, *[lost] * 3, *[0.4] * 9]
    stopper = keras.callbacks.EarlyStopping(KEY, mode="max", patience=patience)
    with pytest.warns(AccuracyFromWeightsWarning, match="failed"):
        history = fit(network(), [AccuracyFromWeights(Scripted(answers)), stopper], epochs=17)
    assert stopper.stopped_epoch == 8 + max(patience - 1, 0)
    assert history.history[KEY][:6] == [0.5, 0.5, 0.5, 0.5, 0.6, 0.6]
    assert history.history[f"{KEY}_low"][1] == 0.0
    assert history.history[f"{KEY}_high"][1] == 1.0
    assert history.history[f"{KEY}_in_family"][:5] == [1.0, 0.0, 0.0, 0.0, 1.0]


def test_an_epoch_whose_estimate_failed_is_not_taken_for_the_best(tmp_path):
    path = tmp_path / "best.weights.h5"
    snapshots = Snapshots()
    saver = keras.callbacks.ModelCheckpoint(
        path, monitor=KEY, mode="max", save_best_only=True, save_weights_only=True
    )
    ours = AccuracyFromWeights(Scripted([0.3, 0.6, OSError("x")]))
    with pytest.warns(AccuracyFromWeightsWarning, match="failed"):
        fit(network(), [ours, saver, snapshots], epochs=4)
    best = network(seed=9)
    best.load_weights(path)
    assert_same(best.get_weights(), snapshots.weights[1])


def test_file_names_made_of_the_estimate_do_not_crash_when_it_fails(tmp_path):
    path = str(tmp_path / "{epoch}-{accuracy_from_weights:.2f}.weights.h5")
    saver = keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
    ours = AccuracyFromWeights(Scripted([OSError("x"), 0.5]))
    with pytest.warns(AccuracyFromWeightsWarning, match="failed"):
        fit(network(), [ours, saver], epochs=2)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "1-0.00.weights.h5",
        "2-0.50.weights.h5",
    ]
