"""The strategy around Flower's own, on its real messages and records."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity

from accuracy_from_weights import load_predictor
from accuracy_from_weights.errors import AccuracyFromWeightsError, AccuracyFromWeightsWarning
from accuracy_from_weights.integrations.flower import AccuracyFromWeights
from tests.callbacks.scripted import Answer, Scripted, answer, ours_among

KEY = "accuracy_from_weights"


@pytest.fixture(autouse=True, scope="module")
def identity():
    """What Flower's runtime would say of the process; messages bear it."""
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


def weights(seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    layers = torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10)
    return torch.nn.Sequential(*layers).state_dict()


def reply(node_id: int, arrays: ArrayRecord, examples: int = 10) -> Message:
    sent = Message(RecordDict({"arrays": ArrayRecord()}), node_id, "train")
    metrics = MetricRecord({"num-examples": examples, "loss": float(node_id)})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=sent)


def replies(n: int = 4) -> list[Message]:
    return [reply(node, ArrayRecord(weights(node))) for node in range(n)]


def mean_of(*nodes: int) -> dict[str, np.ndarray]:
    states = [weights(node) for node in nodes]
    return {key: np.mean([s[key].numpy() for s in states], axis=0) for key in states[0]}


def assert_arrays(record: ArrayRecord, expected: dict[str, np.ndarray]) -> None:
    assert list(record) == list(expected)
    for key, array in expected.items():
        np.testing.assert_allclose(record[key].numpy(), array, rtol=1e-5, atol=1e-7)


def left_out(strategy: AccuracyFromWeights) -> list[int]:
    return [update.node_id for update in strategy.updates if update.left_out]


def test_without_a_bar_it_logs_and_aggregates_as_the_wrapped_strategy_does(predictor_file):
    strategy = AccuracyFromWeights(FedAvg(), predictor_file)
    arrays, metrics = strategy.aggregate_train(1, replies())
    plain_arrays, plain_metrics = FedAvg().aggregate_train(1, replies())
    assert_arrays(arrays, {key: array.numpy() for key, array in plain_arrays.items()})
    assert {key: metrics[key] for key in plain_metrics} == dict(plain_metrics)
    predictor = load_predictor(predictor_file)
    expected = predictor.predict([weights(node) for node in range(4)])
    assert metrics[f"{KEY}_clients"] == pytest.approx(expected.tolist(), abs=1e-6)
    assert metrics[f"{KEY}_client_ids"] == [0, 1, 2, 3]
    assert metrics[f"{KEY}_n_left_out"] == 0
    (whole,) = predictor.predict([mean_of(0, 1, 2, 3)])
    assert metrics[KEY] == pytest.approx(whole, abs=1e-3)
    assert metrics[f"{KEY}_low"] <= metrics[KEY] <= metrics[f"{KEY}_high"]
    assert [update.server_round for update in strategy.updates] == [1] * 4


@pytest.mark.parametrize(
    ("answers", "bars", "expected"),
    [
        ([0.5, 0.2, 0.6, 0.1], {"bound": 0.4}, [1, 3]),
        ([0.5, 0.2, 0.6, 0.1], {"below_best": 0.2}, [1, 3]),
        ([0.5, 0.2, 0.6, 0.1], {"below_best": 0.2, "bound": 0.55}, [0, 1, 3]),
        ([0.1, 0.2, 0.1, 0.1], {"bound": 0.4}, []),  # never all
        ([0.5, OSError("x"), 0.6, 0.1], {"bound": 0.4}, [3]),
        ([answer(0.9, condition="diverged"), 0.5, 0.5, 0.5], {"below_best": 0.1}, [0]),
        ([answer(0.1, condition="diverged")] * 4, {"bound": 0.4}, []),
        ([answer(0.1, condition="diverged"), 0.5, 0.5, 0.5], {}, []),
        ([answer(0.9, condition="untrained"), 0.5, 0.5, 0.4], {"only_sound": True}, [0]),
        ([answer(0.9, in_family=False), 0.5, 0.5, 0.3], {"only_sound": True}, [0]),
        ([answer(0.9, in_family=False)] * 2 + [0.5] * 2, {"only_sound": True}, []),
        ([answer(0.9, condition="collapsed")] * 4, {"only_sound": True}, []),
        (
            [answer(0.9, in_family=False), 0.5, 0.5, 0.3],
            {"only_sound": True, "below_best": 0.1},
            [0, 3],
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:The weights of client")
def test_updates_below_the_bar_are_left_out_of_the_average(answers, bars, expected):
    strategy = AccuracyFromWeights(FedAvg(), Scripted([*answers, 0.5]), **bars)
    arrays, metrics = strategy.aggregate_train(1, replies())
    assert left_out(strategy) == expected
    assert_arrays(arrays, mean_of(*(node for node in range(4) if node not in expected)))
    assert metrics[f"{KEY}_n_left_out"] == len(expected)


def test_diverged_weights_do_not_reach_the_average(predictor_file):
    broken = {key: torch.full_like(array, float("nan")) for key, array in weights(0).items()}
    arrived = [*replies(3), reply(3, ArrayRecord(broken))]
    strategy = AccuracyFromWeights(FedAvg(), predictor_file, bound=0.0)
    arrays, _ = strategy.aggregate_train(1, arrived)
    assert left_out(strategy) == [3]
    assert_arrays(arrays, mean_of(0, 1, 2))


def test_a_failing_client_is_the_wrapped_strategys_business(predictor_file):
    sent = Message(RecordDict(), 9, "train")
    strategy = AccuracyFromWeights(FedAvg(), predictor_file, below_best=1.0)
    arrays, metrics = strategy.aggregate_train(1, [*replies(2), Message(Error(0), reply_to=sent)])
    assert metrics[f"{KEY}_client_ids"] == [0, 1]
    assert_arrays(arrays, mean_of(0, 1))
    assert strategy.aggregate_train(2, []) == (None, None)


def test_plain_lists_of_arrays_are_named(predictor_file):
    def as_list(node):
        return ArrayRecord([array.numpy() for array in weights(node).values()])

    strategy = AccuracyFromWeights(FedAvg(), predictor_file, names=list(weights(0)))
    _, metrics = strategy.aggregate_train(1, [reply(node, as_list(node)) for node in range(2)])
    expected = load_predictor(predictor_file).predict([weights(0), weights(1)])
    assert metrics[f"{KEY}_clients"] == pytest.approx(expected.tolist(), abs=1e-6)


def test_updates_that_cannot_be_estimated_are_kept_with_one_warning(predictor_file):
    odd = [reply(node, ArrayRecord({"bias": Array(np.full(3, float(node)))})) for node in range(3)]
    strategy = AccuracyFromWeights(FedAvg(), predictor_file, bound=0.5)
    with pytest.warns(AccuracyFromWeightsWarning, match="client 0 could not be") as caught:
        arrays, metrics = strategy.aggregate_train(1, odd)
    assert len(ours_among(caught)) == 1
    assert_arrays(arrays, {"bias": np.full(3, 1.0)})
    assert KEY not in metrics


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((None,), r"`strategy=None`.* such as FedAvg\(\)"),
        ((FedAvg(), object()), "`predictor="),
    ],
)
def test_bad_arguments_are_told_at_construction(arguments, sentence):
    with pytest.raises(AccuracyFromWeightsError, match=sentence):
        AccuracyFromWeights(*arguments)
    with pytest.raises(AccuracyFromWeightsError, match=r"`bound=60`"):
        AccuracyFromWeights(FedAvg(), bound=60)


def test_an_answer_without_a_number_is_a_failure():
    strategy = AccuracyFromWeights(FedAvg(), Scripted([Answer(float("nan"))]), bound=0.5)
    with pytest.warns(AccuracyFromWeightsWarning, match="could not be estimated"):
        _, metrics = strategy.aggregate_train(1, replies(2))
    assert KEY not in metrics
