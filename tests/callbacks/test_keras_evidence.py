"""The Keras callback with probes, with the training log, and anchored to true accuracies."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from accuracy_from_weights.callbacks.keras import AccuracyFromWeights
from accuracy_from_weights.errors import AccuracyFromWeightsError, AccuracyFromWeightsWarning
from accuracy_from_weights.stopping import Patience
from tests.callbacks.keras_runs import KEY, Snapshots, X, Y, fit, network, outcome
from tests.callbacks.scripted import Informed, Sampled, ours_among, raw_accuracy

HELD_OUT = (X[:40], Y[:40])


class Raw(keras.callbacks.Callback):
    """Notes what the estimate is without an anchor."""

    def __init__(self) -> None:
        super().__init__()
        self.raw: list[float] = []

    def on_epoch_end(self, epoch, logs=None):
        self.raw.append(raw_accuracy(self.model))


def test_a_network_is_described_with_its_shape_and_the_log_of_the_epoch(described):
    predictor = Informed(features="weights+probes+log")
    history = fit(network(), [AccuracyFromWeights(predictor)], validation_data=HELD_OUT).history
    assert [given["input_shape"] for given in described] == [(8, 8, 1)] * 3
    assert [given["log"]["accuracy"] for given in described] == history["accuracy"]
    assert [given["log"]["loss"] for given in described] == history["loss"]


def test_without_a_metric_one_sentence_says_how_to_compile(described):
    predictor = Informed(features="weights+probes+log")
    model = network(metrics=())
    with pytest.warns(AccuracyFromWeightsWarning, match=r'metrics=\["accuracy"\]') as caught:
        history = fit(model, [AccuracyFromWeights(predictor)]).history
    assert len(ours_among(caught)) == 1
    assert described == []
    assert KEY not in history


def test_metrics_of_other_names_are_read_under_the_names_given(described):
    predictor = Informed(features="weights+probes+log")
    model = network(metrics=(keras.metrics.SparseTopKCategoricalAccuracy(3, name="top3"),))
    ours = AccuracyFromWeights(predictor, log_keys=("top3", "loss"))
    history = fit(model, [ours]).history
    assert [given["log"]["accuracy"] for given in described] == history["top3"]


def subclassed() -> keras.Model:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(10)

        def call(self, x, training=False):
            return self.dense(self.flatten(x))

    keras.utils.set_random_seed(0)
    model = Own()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_a_model_that_does_not_know_its_input_shape_is_probed_with_the_one_given(described):
    predictor = Informed(features="weights+probes")
    fit(subclassed(), [AccuracyFromWeights(predictor, input_shape=(8, 8, 1))], epochs=1)
    assert [given["input_shape"] for given in described] == [(8, 8, 1)]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"anchor_every": 2, "validate": HELD_OUT},
        {"anchor_every": 1},
    ],
)
def test_training_with_probes_log_and_anchor_is_bit_for_bit_the_same(more):
    runs = []
    for with_ours in (False, True):
        model = network(seed=7)
        # Truths of fit's own validation, or of ours.
        validation = {} if "validate" in more else {"validation_data": HELD_OUT}
        predictor = Informed(features="weights+probes+log")
        ours = AccuracyFromWeights(predictor, stopping=Patience(99), **more)
        history = fit(model, [ours] if with_ours else [], **validation)
        runs.append(outcome(model, history))
    assert runs[0] == runs[1]


def shifts_and_anchors(ours, epochs=6, **more):
    raw, snapshots = Raw(), Snapshots()
    model = network(learning_rate=0.1)
    history = fit(model, [ours, raw, snapshots], epochs, **more).history
    truths = []
    for epoch in range(epochs):
        model.set_weights(snapshots.weights[epoch])
        truths.append(model.evaluate(*HELD_OUT, verbose=0, return_dict=True)["accuracy"])
    shifts = [value - plain for value, plain in zip(history[KEY], raw.raw, strict=True)]
    return shifts, history.get(f"{KEY}_anchor"), raw.raw, truths, history


@pytest.mark.parametrize("kind", ["arrays", "function", "data set"])
def test_every_n_epochs_it_validates_and_anchors(kind):
    def measure(model):
        return model.evaluate(*HELD_OUT, verbose=0, return_dict=True)["accuracy"]

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            part = slice(20 * index, 20 * (index + 1))
            return HELD_OUT[0][part], HELD_OUT[1][part]

    data = {"arrays": HELD_OUT, "function": measure, "data set": Batches()}[kind]
    ours = AccuracyFromWeights(Informed(), anchor_every=4, validate=data)
    shifts, anchors, raw, truths, history = shifts_and_anchors(ours)
    first = truths[0] - raw[0]
    second = (first + truths[4] - raw[4]) / 2
    assert shifts == pytest.approx([first] * 4 + [second] * 2, abs=1e-6)
    assert anchors == pytest.approx([truths[0]] * 4 + [truths[4]] * 2)
    assert "val_loss" not in history


@pytest.mark.parametrize(("frequency", "every", "taken"), [(1, 2, [0, 2, 4]), (2, 1, [1, 3, 5])])
def test_validation_of_fit_itself_is_an_anchor_where_there_is_one(frequency, every, taken):
    predictor = Informed()
    ours = AccuracyFromWeights(predictor, anchor_every=every)
    *_, truths, history = shifts_and_anchors(
        ours, validation_data=HELD_OUT, validation_freq=frequency
    )
    assert predictor.truths == pytest.approx([truths[epoch] for epoch in taken])
    assert len(history["val_accuracy"]) == 6 // frequency


def test_truths_survive_by_hand_and_in_the_same_object():
    ours = AccuracyFromWeights(Informed(), anchor_every=9, validate=lambda model: 0.25)
    model = network()
    fit(model, [ours], 2)
    again = fit(model, [ours], 3, initial_epoch=2).history
    assert again[f"{KEY}_anchor"] == [0.25]
    other = AccuracyFromWeights(Informed(), anchor_every=9, validate=lambda model: 1 / 0)
    other.load_state_dict(ours.state_dict())
    assert fit(model, [other], 4, initial_epoch=3).history[f"{KEY}_anchor"] == [0.25]
    fit(model, [ours], 1)
    assert len(ours.state_dict()["truths"]) == 1


def test_without_any_validation_one_sentence_says_where_truths_come_from():
    ours = AccuracyFromWeights(Informed(), anchor_every=2)
    with pytest.warns(AccuracyFromWeightsWarning, match=r"pass validate=\(x, y\)") as caught:
        history = fit(network(), [ours], 4).history
    assert len(ours_among(caught)) == 1
    assert f"{KEY}_anchor" not in history


def test_a_model_compiled_without_accuracy_is_told_so_once():
    model = network(metrics=())
    ours = AccuracyFromWeights(Informed(), anchor_every=1, validate=HELD_OUT)
    with pytest.warns(AccuracyFromWeightsWarning, match="not compiled with an accuracy") as caught:
        history = fit(model, [ours], 3).history
    assert len(ours_among(caught)) == 1
    assert np.isfinite(history[KEY]).all()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"features": "log"}, r"`features='log'` cannot be used"),
        ({"sample": X}, r"`sample` is no pair; pass training inputs"),
        ({"validate": HELD_OUT}, r"`validate` is not used without `anchor_every`"),
        ({"log_keys": "accuracy"}, r"`log_keys='accuracy'` cannot be used"),
        ({"anchor_every": True}, r"`anchor_every=True` .* an integer"),
    ],
)
def test_bad_arguments_are_told_at_construction(arguments, expected):
    with pytest.raises(AccuracyFromWeightsError, match=expected):
        AccuracyFromWeights(**arguments)


def test_examples_ask_for_the_predictor_that_reads_them():
    ours = AccuracyFromWeights(sample=(X, Y))
    fit(network(), [ours], 1)
    assert ours._judge.predictor.features == "weights+probes+log+sample"
    assert AccuracyFromWeights(features="weights", sample=(X, Y))._judge.features == "weights"
    assert AccuracyFromWeights()._judge.features == "weights"


def test_training_examples_are_given(described):
    features = "weights+probes+log+sample"
    model, ours = network(metrics=()), AccuracyFromWeights(predictor := Sampled(), sample=(X, Y))
    history = fit(model, [ours], 2).history
    assert [len(given["sample"]) for given in described] == [128] * 2
    # The sample is all of the training data, whose accuracy this model does not log.
    accuracy = (model.predict(X, verbose=0).argmax(1) == Y).mean()
    assert predictor.logs[-1] == pytest.approx((accuracy, history["loss"][-1]))
    assert len(history[KEY]) == 2
    with pytest.warns(AccuracyFromWeightsWarning, match=r"pass sample=\(x, y\)") as caught:
        history = fit(network(), [AccuracyFromWeights(Informed(features=features))], 2).history
    assert len(ours_among(caught)) == 1
    assert KEY not in history


def regression(outputs: int = 1, loss: str = "mse") -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(outputs)]
    )
    model.compile("sgd", loss, metrics=["mae"])
    return model


def test_a_regression_is_one_sentence_and_no_number():
    ours = AccuracyFromWeights(Informed())
    with pytest.warns(AccuracyFromWeightsWarning, match="regression and has no accuracy") as caught:
        history = fit(regression(), [ours], 3).history
    assert len(ours_among(caught)) == 1
    assert not any(key.startswith(KEY) for key in history)


def test_one_output_is_a_classifier_of_two_classes_where_that_is_known(described):
    data = X[:32], (Y[:32] > 4).astype("float32")
    model = regression(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    history = model.fit(*data, verbose=0, callbacks=[AccuracyFromWeights(Informed())]).history
    assert KEY in history
    told = AccuracyFromWeights(Informed(), task="binary", name="told")
    assert "told" in regression().fit(*data, verbose=0, callbacks=[told]).history
    assert [given["task"] for given in described] == ["binary"] * 2


def test_weights_that_the_optimizer_averages_are_named_or_read():
    def averaging() -> keras.Model:
        model = network()
        model.compile(keras.optimizers.SGD(0.1, use_ema=True), model.loss, metrics=["accuracy"])
        return model

    with pytest.warns(AccuracyFromWeightsWarning, match="use_ema=True") as caught:
        plain = fit(averaging(), [AccuracyFromWeights(Informed())], 2).history[KEY]
    assert len(ours_among(caught)) == 1
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    saved = Snapshots()
    model = averaging()
    averaged = fit(model, [swap, AccuracyFromWeights(Informed()), saved], 2).history[KEY]
    assert averaged != plain
    model.set_weights(saved.weights[1])
    assert averaged[1] == pytest.approx(raw_accuracy(model))
