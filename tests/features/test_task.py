"""Networks that have no accuracy are refused with the reason; one output is two classes or none."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from torch import nn

from accuracy_from_weights.errors import InvalidArgumentError, UnsupportedModelError
from accuracy_from_weights.features.describing import describe_many, describe_network
from accuracy_from_weights.features.description import FEATURE_NAMES
from accuracy_from_weights.features.task import as_classifier, declared_task
from accuracy_from_weights.weights import read_weights

LOG_OUTPUTS = FEATURE_NAMES.index("architecture.log_outputs")


def mlp(outputs: int, *more: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, outputs), *more)


def keras_mlp(outputs: int, activation: str | None = None, **compiled: object) -> keras.Model:
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(5), keras.layers.Dense(outputs, activation)]
    )
    if compiled:
        model.compile("sgd", **compiled)
    return model


class Holder(nn.Module):
    """A module that holds its loss and metrics, as LightningModules do."""

    def __init__(self, outputs: int, *held: nn.Module) -> None:
        super().__init__()
        self.network, self.held = mlp(outputs), nn.ModuleList(held)


class AutoEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(8, 3), nn.Linear(3, 8)


def metric(name: str) -> nn.Module:
    import torchmetrics

    arguments = {"MulticlassAccuracy": (3,), "MultilabelAccuracy": (3,)}.get(name, ())
    return getattr(getattr(torchmetrics, "classification", torchmetrics), name, None)(*arguments)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: mlp(1, nn.Sigmoid()), "binary"),
        (lambda: mlp(3), None),
        (lambda: Holder(3, nn.CrossEntropyLoss()), "multiclass"),
        (lambda: Holder(3, nn.CrossEntropyLoss(), nn.MSELoss()), "multiclass"),
        (lambda: Holder(1, nn.BCEWithLogitsLoss()), "binary"),
        (lambda: Holder(3, metric("MulticlassAccuracy")), "multiclass"),
        (lambda: keras_mlp(1, "sigmoid"), "binary"),
        (lambda: keras_mlp(1, None), None),
        (lambda: keras_mlp(1, None, loss=keras.losses.BinaryCrossentropy(True)), "binary"),
        (lambda: keras_mlp(3, None, loss="sparse_categorical_crossentropy"), "multiclass"),
        (lambda: keras_mlp(3, None, loss="mse", metrics=["accuracy"]), "multiclass"),
        (lambda: {"0.weight": np.ones((3, 2))}, None),
    ],
)
def test_what_a_model_declares(make, expected):
    assert declared_task(make()) == expected


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Holder(1, nn.MSELoss()), "regression"),
        (lambda: Holder(4, nn.TripletMarginLoss()), "embedding"),
        (lambda: Holder(3, metric("MultilabelAccuracy")), "multi-label"),
        (AutoEncoder, "reconstruction.*its class, AutoEncoder"),
        (lambda: keras_mlp(1, None, loss="mse"), "regression"),
        (lambda: keras_mlp(1, None, loss="mse", metrics=["accuracy"]), "regression"),
        (lambda: keras_mlp(1, None, loss=keras.losses.Huber()), "regression"),
        (lambda: mlp(1), "has one output.*task='binary'"),
        (lambda: keras_mlp(1, None), "has one output.*task='binary'"),
        (lambda: Holder(4, nn.BCEWithLogitsLoss()), "several labels at once"),
        (lambda: keras_mlp(4, "sigmoid", loss="binary_crossentropy"), "several labels at once"),
        (lambda: keras_mlp(4, "sigmoid"), "several labels at once"),
        (
            lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 3, 3)),
            "ends in the convolution",
        ),
        (
            lambda: nn.Sequential(nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 64)),
            "as many outputs as inputs, 64",
        ),
        (
            lambda: nn.Sequential(nn.Embedding(1200, 8), nn.Linear(8, 8), nn.Linear(8, 1200)),
            "one for each of its tokens",
        ),
    ],
)
def test_what_has_no_accuracy_is_refused_with_the_reason(make, reason):
    with pytest.raises(UnsupportedModelError, match=reason):
        describe_network(make())


def test_what_is_logged_declares_where_nothing_else_does():
    model = mlp(3)
    assert declared_task(model, logged=["train_loss", "val/acc"]) == "multiclass"
    assert declared_task(model, logged=["train_loss", "loss"]) is None
    assert declared_task(model, loss=nn.functional.cross_entropy) == "multiclass"
    with pytest.raises(UnsupportedModelError, match=r"regression.*'train_rmse' is logged"):
        declared_task(model, logged=["train_loss", "train_rmse"])
    with pytest.raises(UnsupportedModelError, match="regression"):
        declared_task(model, loss=nn.functional.mse_loss)


def test_the_users_word_counts_more():
    row = describe_network(AutoEncoder(), task="multiclass")
    assert row[0, LOG_OUTPUTS] == pytest.approx(np.log(8))
    with pytest.raises(InvalidArgumentError, match="`task='regression'` cannot be used"):
        describe_network(mlp(3), task="regression")


def test_one_output_is_described_as_two_classes_of_the_same_probabilities():
    model = mlp(1)
    row = describe_network(model, task="binary")
    assert row[0, LOG_OUTPUTS] == pytest.approx(np.log(2))
    twin = mlp(2)
    with torch.no_grad():
        twin[0].load_state_dict(model[0].state_dict())
        twin[2].weight.copy_(torch.cat([model[2].weight, -model[2].weight]) / 2)
        twin[2].bias.copy_(torch.cat([model[2].bias, -model[2].bias]) / 2)
    np.testing.assert_allclose(row, describe_network(twin), rtol=1e-5, atol=1e-5)
    x = torch.randn(7, 6)
    torch.testing.assert_close(model(x).sigmoid()[:, 0], twin(x).softmax(1)[:, 0])


def test_a_network_of_several_outputs_stays_as_it_is():
    network = read_weights(mlp(3))
    assert as_classifier(network) is network
    assert as_classifier(network, "multiclass") is network


class Config:
    def __init__(self, problem_type: str | None = None, num_labels: int = 2) -> None:
        self.problem_type, self.num_labels = problem_type, num_labels


@pytest.mark.parametrize(
    ("name", "config", "expected"),
    [
        ("ViTForImageClassification", Config(), "multiclass"),
        ("BertForSequenceClassification", Config("single_label_classification"), "multiclass"),
        ("Mine", Config(), None),
        ("BertForSequenceClassification", Config(num_labels=1), UnsupportedModelError),
        ("BertForSequenceClassification", Config("regression"), UnsupportedModelError),
        ("ViTForImageClassification", Config("multi_label_classification"), UnsupportedModelError),
        ("LlamaForCausalLM", Config(), UnsupportedModelError),
        ("GPT2LMHeadModel", Config(), UnsupportedModelError),
        ("DetrForObjectDetection", Config(), UnsupportedModelError),
        ("BertForTokenClassification", Config(), UnsupportedModelError),
    ],
)
def test_models_of_transformers_by_class_and_problem_type(name, config, expected):
    model = type(name, (nn.Module,), {"config": config})()
    if expected is UnsupportedModelError:
        with pytest.raises(expected, match="no accuracy to estimate"):
            declared_task(model)
    else:
        assert declared_task(model) == expected


@pytest.mark.parametrize(
    ("loss", "task"),
    [
        ("sparse_categorical_crossentropy", "multiclass"),
        (keras.losses.CategoricalCrossentropy(), "multiclass"),
        (["categorical_crossentropy"], "multiclass"),
        ("binary_crossentropy", "binary"),
        (None, None),
    ],
)
def test_the_loss_in_a_keras_file_declares_the_task(
    loss: object, task: str | None, tmp_path: Path
) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    if loss is not None:
        model.compile(loss=loss)
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        assert declared_task(tmp_path / name) == task
    model.save_weights(tmp_path / "model.weights.h5")
    assert declared_task(tmp_path / "model.weights.h5") is None


def test_a_keras_file_of_a_regression_is_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile(loss=keras.losses.MeanSquaredError())
    model.save(tmp_path / "model.keras")
    (found,) = describe_many([tmp_path / "model.keras"])
    assert isinstance(found, UnsupportedModelError)
    assert "regression" in str(found)
    assert declared_task(tmp_path / "missing.keras") is None


def test_several_heads_are_no_classifier() -> None:
    def with_heads(*sizes: int) -> nn.Module:
        heads = (nn.Linear(8, size) for size in sizes)
        return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8), *heads)

    with pytest.raises(UnsupportedModelError, match="several heads"):
        as_classifier(read_weights(with_heads(2, 4)))
    assert as_classifier(read_weights(with_heads(2, 4)), "multiclass").layers[-1].shape == (4, 8)
    for network in (
        with_heads(3),
        with_heads(5, 5),  # an auxiliary classifier beside the main one
        nn.Sequential(nn.LSTM(6, 8), nn.Linear(8, 3)),
        nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)),
    ):
        assert as_classifier(read_weights(network)) is not None
