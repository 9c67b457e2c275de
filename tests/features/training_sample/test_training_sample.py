"""Answers on a sample of training data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from accuracy_from_weights.errors import InvalidArgumentError, UnsupportedModelError
from accuracy_from_weights.features.describing import describe_network
from accuracy_from_weights.features.feature_sets import GRAPH_NAMES, LOG_NAMES, feature_names
from accuracy_from_weights.features.input_spec import InputSpec
from accuracy_from_weights.features.log_columns import read_log
from accuracy_from_weights.features.training_sample import (
    SAMPLE_NAMES,
    TrainingSample,
    balanced_choice,
    describe_sample,
    summarise_answers,
    take_sample,
)
from accuracy_from_weights.features.training_sample.perturbing import PERTURBATIONS
from tests.features.probes.asked_modules import (
    SignalGRU,
    TokenLSTM,
    image_cnn,
    signal_cnn,
    table_mlp,
)

RNG = np.random.default_rng(0)
CASES: dict[str, tuple[Any, Any]] = {
    "tokens": (TokenLSTM, RNG.integers(0, 40, (300, 20))),
    "signal": (SignalGRU, RNG.normal(size=(300, 30, 5))),
    "channels": (signal_cnn, RNG.normal(size=(300, 2, 30))),
    "image": (image_cnn, RNG.normal(size=(300, 3, 12, 12))),
    "table": (table_mlp, RNG.normal(size=(300, 12))),
}


def named(row: np.ndarray) -> dict[str, float]:
    return dict(zip(SAMPLE_NAMES, row.tolist(), strict=True))


@pytest.mark.parametrize("kind", CASES)
def test_every_kind_of_input(kind: str) -> None:
    make, x = CASES[kind]
    torch.manual_seed(0)
    module = make()
    y = RNG.integers(0, 3, 300)
    state = torch.get_rng_state()
    row, log = describe_sample(module, take_sample(module, x, y))
    assert row.shape == (len(SAMPLE_NAMES),)
    assert np.isfinite(row).all()
    np.testing.assert_array_equal(row, describe_sample(module, take_sample(module, x, y))[0])
    assert torch.equal(state, torch.get_rng_state())
    assert module.training
    sample = take_sample(module, x, y)
    clean = torch.tensor(sample.x) if kind == "tokens" else torch.tensor(sample.x).float()
    with torch.no_grad():
        right = module.eval()(clean).argmax(1).numpy() == sample.classes
    assert named(row)["accuracy"] == pytest.approx(right.mean())
    assert log["accuracy"] == pytest.approx(right @ sample.weights)
    for name, values in sample.variants():
        assert values.shape == sample.x.shape
        assert (name == "clean") == np.array_equal(values, sample.x)


def test_what_does_not_fit_the_kind_counts_as_no_change() -> None:
    sample = take_sample(table_mlp(), CASES["table"][1], RNG.integers(0, 3, 300))
    row = named(describe_sample(table_mlp(), sample)[0])
    for name in ("shift", "far_shift", "blur"):
        assert row[f"{name}.accuracy"] == row["accuracy"]
    assert row["is_table"] == 1
    assert 0.5 < row["changed.agreement"] < 1


def test_memory_is_told_from_understanding() -> None:
    """Two networks that know all their examples: one of a task, one of labels without sense."""
    rows = []
    for has_sense in (True, False):
        torch.manual_seed(0)
        rng = np.random.default_rng(1)
        x = rng.normal(size=(256, 12)).astype("float32")
        y = (x[:, 0] + x[:, 1] > 0).astype(int) if has_sense else rng.integers(0, 2, 256)
        module = nn.Sequential(nn.Linear(12, 128), nn.ReLU(), nn.Linear(128, 2))
        optimizer = torch.optim.Adam(module.parameters(), 0.01)
        for _ in range(400):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(module(torch.tensor(x)), torch.tensor(y))
            loss.backward()
            optimizer.step()
        rows.append(named(describe_sample(module, take_sample(module, x, y))[0]))
    sense, memory = rows
    assert sense["accuracy"] == memory["accuracy"] == 1
    for name in ("nearest", "learner_accuracy", "learner_margin", "mix_within.accuracy"):
        assert sense[name] > memory[name] + 0.03, name
    assert sense["agrees_with_learner"] > memory["agrees_with_learner"] + 0.2


def test_where_a_class_is_rare_the_log_is_that_of_the_data_and_not_of_the_balanced_sample() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    y = (rng.random(1024) < 0.1).astype(int)
    x = (rng.normal(size=(1024, 12)) + y[:, None] * 0.3).astype("float32")
    inputs, classes = torch.tensor(x), torch.tensor(y)
    module = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(inputs), classes).backward()
        optimizer.step()
    with torch.no_grad():
        outputs = module(inputs)
    accuracy = float((outputs.argmax(1) == classes).float().mean())
    row, log = describe_sample(module, take_sample(module, x, y))
    assert log["accuracy"] == pytest.approx(accuracy, abs=0.03)
    assert log["loss"] == pytest.approx(
        float(nn.functional.cross_entropy(outputs, classes)), abs=0.1
    )
    assert named(row)["accuracy"] < accuracy - 0.1


def test_numbers_do_not_feel_the_order_of_classes() -> None:
    x, spec = CASES["table"][1][:200], InputSpec("table", (12,))
    sample = TrainingSample(x, np.arange(200) % 4, spec)
    outputs = RNG.normal(size=(len(sample.names) * len(sample), 4))
    expected = summarise_answers(outputs, sample)
    order = np.array([2, 0, 3, 1])
    renamed = TrainingSample(x, np.argsort(order)[sample.classes], spec)
    changed = summarise_answers(outputs[:, order], renamed)
    # Who is mixed with whom is drawn by the order of the classes.
    is_mix = np.array([name in ("mix.accuracy", "mixed.agreement") for name in SAMPLE_NAMES])
    np.testing.assert_allclose(changed[~is_mix], expected[~is_mix], atol=1e-4)
    p = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(summarise_answers(p, sample), expected, atol=1e-4)
    outputs[5, 1] = np.nan
    assert np.isnan(summarise_answers(outputs, sample)).all()


def test_mixed_pairs_are_of_two_classes_and_of_one() -> None:
    classes = np.repeat([0, 1, 2], [90, 10, 60])
    sample = TrainingSample(RNG.normal(size=(160, 12)), classes, InputSpec("table", (12,)))
    assert (sample.classes[sample.other] != sample.classes).all()
    assert (sample.classes[sample.alike] == sample.classes).all()
    assert (sample.alike != np.arange(160)).all()
    mixed = dict(sample.variants())["mix"]
    np.testing.assert_allclose(mixed, (sample.x + sample.x[sample.other]) / 2, rtol=1e-5)


def test_the_choice_is_balanced_and_fixed() -> None:
    classes = np.concatenate([np.zeros(5000, int), np.ones(100, int), np.full(20, 2)])
    chosen = balanced_choice(classes)
    assert np.bincount(classes[chosen]).tolist() == [136, 100, 20]
    np.testing.assert_array_equal(chosen, balanced_choice(classes))
    assert (classes[balanced_choice(np.where(classes == 0, -100, classes))] > 0).all()


@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        (np.zeros((40, 12)), np.zeros(39), "39 classes"),
        (np.zeros((9, 12)), np.zeros(9), "at least 16"),
        (np.zeros((40, 12)), np.full(40, 0.5), "whole numbers"),
        (np.full((40, 12), np.nan), np.zeros(40), "NaN"),
        (np.zeros((40, 12)), np.arange(40), "0 to 2"),
    ],
)
def test_samples_that_cannot_be_used(x: Any, y: Any, match: str) -> None:
    with pytest.raises(InvalidArgumentError, match=match):
        describe_sample(table_mlp(), take_sample(table_mlp(), x, y))


def test_a_mapping_with_a_mask() -> None:
    class Masked(TokenLSTM):
        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return super().forward(input_ids) * attention_mask.float().mean(1, keepdim=True)

    x = {"input_ids": torch.randint(0, 40, (50, 8)), "attention_mask": torch.ones(50, 8)}
    sample = take_sample(Masked(), x, torch.arange(50) % 3)
    assert np.isfinite(describe_sample(Masked(), sample)[0]).all()


def test_one_row_of_all_feature_sets() -> None:
    module, x = table_mlp(), CASES["table"][1]
    sample = (x, RNG.integers(0, 3, 300))
    row = describe_network(
        module, "weights+probes+log+sample", log={"acc": 0.5, "loss": 1.0}, sample=sample
    )
    names = feature_names("weights+probes+log+sample")
    assert row.shape == (1, len(names) + len(GRAPH_NAMES))
    assert len(set(names)) == len(names)
    assert f"sample.{PERTURBATIONS[0]}.accuracy" in names
    _, measured = describe_sample(module, take_sample(module, *sample))
    for log in (None, {}, {"n_train": 70, "acc": np.nan}, {"loss": 1.0}, {"acc": 0.5}):
        row = describe_network(module, "weights+probes+log+sample", log=log, sample=sample)
        number, known = names.index("log.samples"), read_log(log or {})
        found = dict(zip(LOG_NAMES, row[0, number - 2 : number + 1], strict=True))
        for name in ("accuracy", "loss"):
            value = known.get(name, np.nan)
            expected = measured[name] if np.isnan(value) else value
            assert found[name] == pytest.approx(expected)
        assert np.isnan(found["samples"]) or found["samples"] == known["samples"]
    with pytest.raises(InvalidArgumentError, match="sample=None"):
        describe_network(module, "weights+probes+log+sample", log={"acc": 0.5})


def test_a_sample_tells_probes_the_shape_of_inputs() -> None:
    layers = nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    module = nn.Sequential(*layers)  # takes images of any size
    sample = RNG.random((60, 1, 12, 12), np.float32), RNG.integers(0, 3, 60)
    features = "weights+probes+log+sample"
    with pytest.raises(UnsupportedModelError, match="input_shape"):
        describe_network(module, "weights+probes")
    spec = take_sample(module, *sample).spec  # it knows the range of the numbers, too
    told = describe_network(module, features, sample=sample, input_shape=spec)
    np.testing.assert_array_equal(describe_network(module, features, sample=sample), told)
