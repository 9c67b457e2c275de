"""The callback in real, tiny fits of skorch nets."""

from __future__ import annotations

import pickle
from contextlib import nullcontext

import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback as SkorchCallback
from skorch.callbacks import Checkpoint, EarlyStopping, EpochScoring
from skorch.dataset import ValidSplit
from skorch.exceptions import SkorchException
from torch.distributed.fsdp import fully_shard

from accuracy_from_weights.callbacks.skorch import AccuracyFromWeights
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
X, Y = digits(128)
X = X.reshape(len(X), -1)
WITH_VALIDATION = ValidSplit(4, stratified=False)


class Module(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = torch.nn.Linear(64, 8)
        self.dropout = torch.nn.Dropout(0.2)
        self.last = torch.nn.Linear(8, 10)

    def forward(self, x):
        return torch.softmax(self.last(self.dropout(torch.relu(self.hidden(x)))), dim=-1)


class Snapshots(SkorchCallback):
    def initialize(self):
        self.weights_ = []
        return self

    def on_epoch_end(self, net, **kwargs):
        state = net.module_.state_dict()
        self.weights_.append({key: value.clone() for key, value in state.items()})


def make(callbacks: list, epochs: int = 2, train_split=None, **more) -> NeuralNetClassifier:
    seed_all(0)
    return NeuralNetClassifier(
        Module,
        max_epochs=epochs,
        lr=0.1,
        batch_size=32,
        train_split=train_split,
        callbacks=callbacks,
        verbose=0,
        **more,
    )


def fit(callbacks: list, epochs: int = 2, train_split=None) -> NeuralNetClassifier:
    return make(callbacks, epochs, train_split).fit(X, Y)


def estimates(net) -> list[float]:
    return net.history[:, KEY]


def assert_same(one, other) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("split", [None, WITH_VALIDATION])
def test_the_history_of_two_epochs_holds_the_estimate(split):
    net = fit([AccuracyFromWeights(Scripted([0.5, 0.25]))], 2, split)
    assert estimates(net) == [0.5, 0.25]
    assert net.history[:, f"{KEY}_high"] == [0.6, 0.35]
    assert net.history[:, f"{KEY}_in_family"] == [1.0, 1.0]
    assert net.history[:, f"{KEY}_best"] == [True, False]
    assert ("valid_loss" in net.history[-1]) == (split is not None)


@pytest.mark.parametrize("split", [None, WITH_VALIDATION])
def test_early_stopping_and_checkpoint_react_to_the_estimate(tmp_path, split):
    callbacks = [
        AccuracyFromWeights(Scripted([0.3, 0.7, 0.6, 0.5, 0.9])),
        Snapshots(),
        Checkpoint(monitor=f"{KEY}_best", dirname=str(tmp_path), load_best=True),
        EarlyStopping(KEY, lower_is_better=False, patience=2),
    ]
    net = fit(callbacks, 9, split)
    assert len(snapshots(net)) == 4
    # Checkpoint brings back the history of its epoch with the weights.
    assert estimates(net) == [0.3, 0.7]
    assert_same(net.module_.state_dict(), snapshots(net)[1])


def snapshots(net) -> list:
    return next(cb for _, cb in net.callbacks_ if isinstance(cb, Snapshots)).weights_


def test_early_stopping_loads_the_weights_of_the_best_estimate():
    callbacks = [
        AccuracyFromWeights(Scripted([0.3, 0.7, 0.6, 0.5])),
        Snapshots(),
        EarlyStopping(KEY, lower_is_better=False, patience=2, load_best=True),
    ]
    net = fit(callbacks, 9)
    assert_same(net.module_.state_dict(), snapshots(net)[1])


def test_a_rule_stops_and_says_why(capsys):
    ours = AccuracyFromWeights(Scripted([0.5]), stopping=Patience(2))
    net = fit([ours], 9)
    assert estimates(net) == [0.5, 0.5, 0.5]
    assert ours.decision.reason is StopReason.NO_IMPROVEMENT
    assert "stopped at step 2 (no improvement)" in capsys.readouterr().out


@pytest.mark.parametrize(("rule", "answers", "epochs", "reason"), RULES)
def test_every_rule_ends_a_run_for_its_reason(rule, answers, epochs, reason):
    ours = AccuracyFromWeights(Scripted(answers), stopping=rule())
    assert len(fit([ours], 6).history) == epochs
    assert ours.decision.reason == reason


def test_between_the_epochs_that_are_due_the_last_value_is_repeated():
    net = fit([AccuracyFromWeights(Scripted([0.1, 0.2, 0.3]), every_n_epochs=2)], 5)
    assert estimates(net) == [0.1, 0.1, 0.2, 0.2, 0.3]


def test_partial_fit_goes_on_and_fit_starts_afresh():
    rule = Patience(3)
    net = fit([AccuracyFromWeights(Scripted([0.9, 0.5]), stopping=rule)], 2)
    assert rule.waited == 1
    net.partial_fit(X, Y)
    assert len(net.history) == 4
    assert rule.waited == 3
    assert net.history[:, f"{KEY}_best"] == [True, False, False, False]
    net.fit(X, Y)
    assert len(net.history) == 2
    assert rule.waited == 1


def test_a_pickled_net_goes_on():
    net = fit([AccuracyFromWeights(ReadsWeights(), stopping=Patience(9))], 2)
    again = pickle.loads(pickle.dumps(net))
    again.partial_fit(X, Y)
    assert len(estimates(again)) == 4


def test_a_cloned_net_keeps_the_fitted_predictor_and_gets_a_rule_of_its_own(predictor_file):
    from accuracy_from_weights import load_predictor

    predictor, rule = load_predictor(predictor_file), Patience(3)
    ours = AccuracyFromWeights(predictor, stopping=rule, name="mine", every_n_epochs=2)
    copy = clone(make([ours])).callbacks[0]
    assert copy.predictor is predictor
    assert copy.stopping is not rule
    assert (copy.name, copy.every_n_epochs) == ("mine", 2)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_a_grid_search_sets_its_parameters():
    predictor = ReadsWeights()
    net = make([("estimate", AccuracyFromWeights(predictor))])
    search = GridSearchCV(net, {"callbacks__estimate__every_n_epochs": [1, 2]}, cv=2)
    search.fit(X, Y)
    found = search.best_estimator_.history[:, KEY]
    assert (found[0] == found[1]) == (
        search.best_params_["callbacks__estimate__every_n_epochs"] == 2
    )


@pytest.mark.parametrize("split", [None, WITH_VALIDATION])
def test_training_is_bit_for_bit_the_same_with_and_without_the_callback(split):
    ends = []
    for callbacks in ([], [AccuracyFromWeights(ReadsWeights(), stopping=Patience(99))]):
        net = fit(callbacks, 3, split)
        arrays = [tensor.numpy().tobytes() for tensor in net.module_.state_dict().values()]
        losses = net.history[:, "train_loss"]
        ends.append((arrays, losses, random_states()))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("load_best", [False, True])
def test_when_every_estimate_fails_training_ends_as_without(load_best):
    plain = fit([], 4)
    ours = AccuracyFromWeights(Scripted([OSError("x")]))
    early = EarlyStopping(KEY, lower_is_better=False, patience=1, load_best=load_best)
    with pytest.warns(AccuracyFromWeightsWarning, match="failed and training goes on") as caught:
        net = fit([ours, early], 4)
    assert len(ours_among(caught)) == 1
    assert estimates(net) == [0.0] * 4
    assert net.history[:, f"{KEY}_best"] == [False] * 4
    assert_same(net.module_.state_dict(), plain.module_.state_dict())


def test_whatever_fails_training_ends_as_without_and_warns_once():
    def train(callback: AccuracyFromWeights | None):
        scores = EpochScoring("accuracy", name="train_acc", on_train=True)
        callbacks = [scores] if callback is None else [scores, callback]
        net = fit(callbacks, 2, WITH_VALIDATION)
        arrays = [tensor.numpy().tobytes() for tensor in net.module_.state_dict().values()]
        return arrays, net.history[:, ("train_loss", "valid_loss")], random_states()

    reached = check_every_fault(
        lambda: AccuracyFromWeights(**ALL_FEATURES, stopping=Patience(99)), train
    )
    assert {"AccuracyFromWeights._review", "LogReader.validation", "input_shape_of"} <= reached


def test_epochs_whose_estimate_failed_do_not_count_against_patience():
    lost = OSError("x")
    ours = AccuracyFromWeights(Scripted([lost, 0.5, lost, lost, lost, 0.4, 0.4, 0.4]))
    early = EarlyStopping(KEY, lower_is_better=False, patience=2)
    with pytest.warns(AccuracyFromWeightsWarning, match="failed"):
        net = fit([ours, early], 12)
    assert estimates(net) == [0.0, 0.5, 0.5, 0.5, 0.5, 0.4, 0.4]


@pytest.mark.parametrize(
    ("others", "expected", "skorch_says"),
    [
        (
            lambda ours: [ours, EarlyStopping(KEY, patience=9)],
            "prefers the worst epoch",
            nullcontext(),
        ),
        (
            lambda ours: [ours, Checkpoint(monitor="acuracy_from_weights_best", dirname="never")],
            "Did you mean 'accuracy_from_weights_best'",
            pytest.raises(SkorchException),
        ),
        (
            lambda ours: [EarlyStopping(KEY, lower_is_better=False), ours],
            "EarlyStopping stands before it",
            pytest.raises(KeyError),
        ),
    ],
)
def test_others_that_cannot_use_the_estimate_are_named(
    others, expected, skorch_says, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    net = make(others(AccuracyFromWeights(Scripted([0.5]))))
    with (
        pytest.warns(AccuracyFromWeightsWarning, match=expected) as caught,
        skorch_says,
    ):
        net.fit(X, Y)
    assert len(ours_among(caught)) == 1


def test_the_forecast_is_recorded_for_the_share_of_the_plan_that_is_done():
    net = fit([clone(AccuracyFromWeights(Foreseeing(), forecast=True))], 4)
    assert net.history[:, FINAL] == [0.25, 0.5, 0.75, 1.0]
    net.partial_fit(X, Y)
    assert net.history[4:, FINAL] == [5 / 8, 6 / 8, 7 / 8, 1.0]


def test_early_stopping_reacts_to_the_forecast_and_not_to_one_that_failed():
    ours = AccuracyFromWeights(Foreseeing(lost=[0.4, 0.6]), forecast=True)
    stop = EarlyStopping(FINAL, patience=2, lower_is_better=False)
    with pytest.warns(AccuracyFromWeightsWarning, match="the forecast of epoch 1 failed"):
        net = fit([ours, stop], 5)
    assert net.history[:, FINAL] == pytest.approx([0.2, 0.2, 0.2, 0.8, 1.0])
    stop = EarlyStopping(
        FINAL, patience=2, threshold=0.9, threshold_mode="abs", lower_is_better=False
    )
    assert len(fit([AccuracyFromWeights(Foreseeing(), forecast=True), stop], 5).history) == 3


def test_sharded_weights_are_one_sentence_and_training_goes_on(tmp_path):
    with group_of_one(tmp_path) as mesh:
        net = make([AccuracyFromWeights(ReadsWeights())])
        net.module = lambda: fully_shard(Module(), mesh=mesh)
        with pytest.warns(AccuracyFromWeightsWarning, match="a sharded tensor") as caught:
            net.fit(X, Y)
    assert len(ours_among(caught)) == 1
    assert KEY not in net.history[-1]


def test_a_regressor_is_one_sentence_and_no_number():
    seed_all(0)
    module = lambda: torch.nn.Linear(64, 1)  # noqa: E731
    ours = AccuracyFromWeights(ReadsWeights())
    net = NeuralNetRegressor(module, train_split=None, max_epochs=2, callbacks=[ours], verbose=0)
    with pytest.warns(AccuracyFromWeightsWarning, match="regression and has no") as caught:
        net.fit(X, Y.astype("float32")[:, None])
    assert len(ours_among(caught)) == 1
    assert KEY not in net.history[-1]


def test_bad_arguments_are_told_at_construction():
    with pytest.raises(AccuracyFromWeightsError, match=r"`every_n_epochs=0` cannot be used"):
        AccuracyFromWeights(every_n_epochs=0)


@pytest.mark.parametrize(("split", "expected"), [(None, 128), (WITH_VALIDATION, 96)])
def test_the_number_of_training_samples_is_part_of_the_log(split, expected, described):
    listener = Informed("weights+probes+log")
    scoring = EpochScoring("accuracy", name="train_acc", on_train=True)
    fit([scoring, AccuracyFromWeights(listener, input_shape=(64,))], train_split=split)
    assert [evidence["log"]["samples"] for evidence in described] == [expected] * 2


def test_training_examples_are_those_of_the_first_batches(described):
    net = fit([AccuracyFromWeights(predictor := Sampled())])
    assert [len(evidence["sample"]) for evidence in described] == [128] * 2
    # No callback scores the accuracy. The sample is all of the data.
    expected = (net.score(X, Y), net.history[-1, "train_loss"])
    assert predictor.logs[-1] == pytest.approx(expected)
    assert len(estimates(net)) == 2


def test_the_chart_shows_the_validation_of_the_net():
    taken = Taken()
    ours = AccuracyFromWeights(Scripted([0.25, 0.5]), chart_to=taken)
    net = fit([ours], train_split=WITH_VALIDATION)
    assert taken.estimates[-1] == [0.25, 0.5]
    assert taken.truths[-1] == pytest.approx(net.history[:, "valid_acc"])
