from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from accuracy_from_weights.zoo.rebuilding.torch_recurrence import RecurrentLayer
from accuracy_from_weights.zoo.recipes.architecture import Architecture, InputForm
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe, Task
from accuracy_from_weights.zoo_training.tasks import PreparedData
from accuracy_from_weights.zoo_training.torch_memory import bytes_of
from accuracy_from_weights.zoo_training.torch_vmap_training import VmapTraining

CPU = torch.device("cpu")
IMAGE, SIGNAL = InputForm("image", (2, 9, 9)), InputForm("signal", (2, 12))
TABLE, TOKENS = InputForm("table", (6,)), InputForm("tokens", (7,), vocabulary=11)

ARCHITECTURES = {
    "cnn": (
        IMAGE,
        Architecture(
            widths=(4, 6),
            strides=(1, 2),
            pooling="max",
            padding="same",
            normalisation="batch",
            activation_first=True,
            bias=False,
            momentum=0.05,
            head="flatten",
            dense=(8,),
        ),
    ),
    "resnet": (
        IMAGE,
        Architecture(
            "resnet", (4, 4, 8), strides=(1, 1, 2), normalisation="batch", head="max", bias=False
        ),
    ),
    "vit": (
        IMAGE,
        Architecture("vit", (8, 8), normalisation="layer", patch_size=3, heads=2),
    ),
    "conv1d": (
        SIGNAL,
        Architecture(widths=(4, 6), strides=(2, 1), normalisation="group", bias=False),
    ),
    "table": (
        TABLE,
        Architecture("mlp", (8, 8), normalisation="batch", activation="gelu", bias=False),
    ),
    "tokens-bag": (TOKENS, Architecture("mlp", (8,), embedding=5)),
    "tokens-conv1d": (TOKENS, Architecture("separable", (4, 6), strides=(1, 1), embedding=5)),
    "tokens-transformer": (TOKENS, Architecture("vit", (8,), normalisation="layer", heads=2)),
    "lstm": (TOKENS, Architecture("lstm", (5, 5), embedding=4, head="last")),
    "gru": (SIGNAL, Architecture("gru", (5,), head="average", dense=(6,))),
}


def task_of(form: InputForm, n_classes: int, n: int, seed: int) -> PreparedData:
    """Random examples whose class has a little to do with them."""
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n)
    if form.kind == "tokens":
        x = (rng.integers(form.vocabulary, size=(n, *form.shape)) + y[:, None]) % form.vocabulary
    else:
        x = rng.normal(size=(n, *form.shape)).astype(np.float32)
        x += (y / n_classes).reshape(-1, *[1] * len(form.shape)).astype(np.float32)
    return PreparedData(form, x[:-20], y[:-20], x[-20:], y[-20:], n_classes)


def recipes_of(form: InputForm, architecture: Architecture) -> list[NetworkRecipe]:
    """Three networks that differ in all in which the networks of one stack may differ."""
    forms = [form, form, form]
    if form.kind == "table":
        forms[1] = InputForm("table", (4,))
    if form.kind == "tokens":
        forms[1] = InputForm("tokens", form.shape, vocabulary=8)
    changes = (
        {"optimizer": "adam", "dropout": 0.3, "schedule": "cosine", "learning_rate": 3e-3},
        {"optimizer": "adam", "weight_decay": 0.1, "initialiser": "keras_default"},
        {"optimizer": "momentum", "l2": 1e-3, "initialiser": "torch_default"},
    )
    return [
        NetworkRecipe(
            family="universe",
            index=i,
            seed=i,
            order_seed=i + 10,
            task=Task(f"task-{i}", forms[i], n_classes, n_train, 20, i, label_noise=0.1 * i),
            architecture=architecture,
            epochs=10 / (n_train // 8),
            checkpoints=tuple(10 / (n_train // 8) * place for place in (0.0, 0.3, 1.0)),
            batch_size=8,
            **{"optimizer": "sgd", "learning_rate": 1e-2, **change},
        )
        for i, (n_classes, n_train, change) in enumerate(
            zip((3, 5, 4), (24, 40, 60), changes, strict=True)
        )
    ]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_stack_trains_its_networks_as_if_each_were_alone(name: str) -> None:
    form, architecture = ARCHITECTURES[name]
    recipes = recipes_of(form, architecture)
    tasks = [task_of(r.task.form, r.task.n_classes, 90, r.index) for r in recipes]
    together = VmapTraining(recipes, tasks, CPU).run()
    for stacked, recipe, task in zip(together, recipes, tasks, strict=True):
        (alone,) = VmapTraining([recipe], [task], CPU).run()
        assert stacked.recipe is recipe
        for ours, theirs in zip(stacked.checkpoints, alone.checkpoints, strict=True):
            assert list(ours.weights) == list(theirs.weights)
            for key, weights in theirs.weights.items():
                if key.endswith("key.bias"):
                    continue  # its gradient is rounding alone, which Adam makes large
                np.testing.assert_allclose(ours.weights[key], weights, atol=2e-4, err_msg=key)
            for score in ("test_loss", "train_loss", "log_loss"):
                np.testing.assert_allclose(
                    getattr(ours, score), getattr(theirs, score), rtol=2e-3, atol=1e-3
                )
            for score in ("test_accuracy", "train_accuracy", "log_accuracy"):
                np.testing.assert_allclose(getattr(ours, score), getattr(theirs, score), atol=0.051)
        first, last = stacked.checkpoints[0].weights, stacked.checkpoints[-1].weights
        assert np.abs(last["head.weight"] - first["head.weight"]).max() > 1e-3
        assert len(last["head.bias"]) == recipe.task.n_classes


def test_a_network_that_diverges_leaves_the_others_alone() -> None:
    form, architecture = ARCHITECTURES["table"]
    recipes = recipes_of(form, architecture)
    tasks = [task_of(r.task.form, r.task.n_classes, 90, r.index) for r in recipes]
    broken = dataclasses.replace(recipes[2], optimizer="sgd", learning_rate=1e30)
    trained = VmapTraining([*recipes[:2], broken], tasks, CPU).run()
    assert [network.diverged for network in trained] == [False, False, True]
    assert np.isfinite(trained[0].checkpoints[-1].test_loss)
    assert np.isnan(trained[2].checkpoints[-1].test_loss)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_unrolled_layers_compute_what_pytorch_s_kernels_do(kind: str) -> None:
    torch.manual_seed(0)
    layer = RecurrentLayer(kind, 3, 5)
    own = (torch.nn.LSTM if kind == "lstm" else torch.nn.GRU)(3, 5, batch_first=True)
    own.load_state_dict(layer.state_dict())
    x = torch.randn(4, 6, 3)
    expected = own(x)[0]
    torch.testing.assert_close(layer(x), expected)
    layer.unrolled = True
    torch.testing.assert_close(layer(x), expected)


def test_the_memory_of_a_network_grows_with_its_batch_and_width() -> None:
    (recipe, *_) = recipes_of(*ARCHITECTURES["cnn"])
    small = bytes_of(recipe)
    larger_batch = bytes_of(dataclasses.replace(recipe, batch_size=16))
    wider = dataclasses.replace(recipe.architecture, widths=(8, 12))
    assert small > 4 * 8 * 4 * 81  # the first convolution's values alone
    assert 1.3 * small < larger_batch < 2 * small
    assert bytes_of(dataclasses.replace(recipe, architecture=wider)) > 1.3 * small


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("k", [1, 3])
def test_a_step_stays_on_its_device_and_asks_it_for_no_value(name: str, k: int) -> None:
    # Tensors of PyTorch's device "meta" meet no others and have no values: what works there can be
    # recorded on a GPU.
    form, architecture = ARCHITECTURES[name]
    recipes = recipes_of(form, architecture)[:k]
    tasks = [task_of(r.task.form, r.task.n_classes, 90, r.index) for r in recipes]
    training = VmapTraining(recipes, tasks, torch.device("meta"))
    training._networks.train()
    training._train_step()
    assert training._networks.weights.is_meta
