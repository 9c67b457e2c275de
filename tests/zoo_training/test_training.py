from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.weights import read_weights
from accuracy_from_weights.zoo.recipes.architecture import Architecture
from accuracy_from_weights.zoo.recipes.paper import PaperRecipe
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo.recipes.wild import WildRecipe
from accuracy_from_weights.zoo_training.training import ImageData, train_networks
from tests.zoo_training.blobs import blobs, build_module


def paper_recipe(**changes: object) -> NetworkRecipe:
    """A recipe with which the paper's network learns the blobs."""
    drawn = PaperRecipe(epochs=8, checkpoints=(0, 1, 8), batch_size=32, n_train=300).draw(
        0, 0, blobs().facts
    )
    values = {
        "task": dataclasses.replace(drawn.task, n_train=300),
        "batch_size": 32,
        "optimizer": "adam",
        "learning_rate": 1e-2,
        "dropout": 0.2,
        "initialiser": "he_normal",
        "l2": 1e-6,
        **changes,
    }
    return dataclasses.replace(drawn, **values)


def one(recipe: NetworkRecipe, data: ImageData):
    (trained,) = train_networks([recipe], data)
    return trained


@pytest.mark.parametrize(
    "architecture",
    [Architecture(strides=(2, 2, 2)), Architecture(strides=(2, 1), widths=(8, 8), padding="same")],
    ids=["stacked", "module"],
)
def test_a_network_learns_and_its_checkpoints_say_so(architecture):
    data = blobs()
    trained = one(paper_recipe(architecture=architecture), data)
    start, early, end = trained.checkpoints
    assert [c.step for c in trained.checkpoints] == [0, 1, 8]
    assert np.isnan(start.log_accuracy)
    assert np.isnan(start.log_loss)
    assert start.test_accuracy < 0.6 < 0.9 < end.test_accuracy
    assert end.train_loss < early.train_loss < start.train_loss
    assert 0.5 < end.log_accuracy <= 1.0
    # With dropout on, and averaged over an epoch of learning, the log looks worse.
    assert end.log_loss > end.train_loss
    assert not trained.diverged
    assert trained.seconds > 0
    layers = read_weights(end.weights).layers
    assert layers[0].kernel.shape == (architecture.widths[0], 1, 3, 3)
    assert layers[-1].kernel.shape == (4, architecture.widths[-1])


def test_recorded_scores_are_those_of_the_recorded_weights():
    data = blobs()
    recipe = paper_recipe(task=dataclasses.replace(paper_recipe().task, label_noise=0.3))
    end = one(recipe, data).checkpoints[-1]
    module = build_module(recipe).eval()
    module.load_state_dict({name: torch.from_numpy(w) for name, w in end.weights.items()})
    x = torch.from_numpy(data.x_test.astype(np.float32) / 127.5 - 1)
    with torch.no_grad():
        logits = module(x)
    y = torch.from_numpy(data.y_test)
    assert (logits.argmax(1) == y).double().mean().item() == pytest.approx(end.test_accuracy)
    loss = torch.nn.functional.cross_entropy(logits, y).item()
    assert loss == pytest.approx(end.test_loss, rel=1e-4)
    # Of the noisy labels that were trained on, a fifth is beyond a network that tells all.
    assert end.train_accuracy < end.test_accuracy


def test_the_company_changes_nothing():
    data = blobs()
    recipes = [paper_recipe(seed=s, order_seed=s, dropout=0.1 * s) for s in range(3)]
    together = {t.recipe: t for t in train_networks(recipes, data)}
    for recipe in recipes:
        alone = one(recipe, data).checkpoints[-1]
        for name, weights in together[recipe].checkpoints[-1].weights.items():
            np.testing.assert_allclose(weights, alone.weights[name], atol=1e-4)
    assert one(recipes[1], data).checkpoints[-1].test_loss == (
        one(recipes[1], data).checkpoints[-1].test_loss
    )


@pytest.mark.parametrize("padding", ["valid", "same"], ids=["stacked", "module"])
def test_a_diverged_network_is_recorded_not_raised(padding):
    architecture = Architecture(strides=(2, 2, 2), padding=padding)
    broken = paper_recipe(architecture=architecture, optimizer="sgd", learning_rate=1e9)
    sound = paper_recipe(architecture=architecture, optimizer="sgd", learning_rate=1e-2)
    trained = {t.recipe: t for t in train_networks([broken, sound], blobs())}
    assert not trained[sound].diverged
    assert np.isfinite(trained[sound].checkpoints[-1].test_loss)
    network = trained[broken]
    assert network.diverged
    assert [c.step for c in network.checkpoints] == [0, 1, 8]
    assert np.isfinite(network.checkpoints[0].test_accuracy)
    for checkpoint in network.checkpoints[1:]:
        assert all(np.isnan(w).all() for w in checkpoint.weights.values())
        assert np.isnan(checkpoint.test_accuracy)
        assert np.isnan(checkpoint.train_loss)


@pytest.mark.parametrize("padding", ["valid", "same"], ids=["stacked", "module"])
def test_a_network_may_diverge_before_its_first_checkpoint(padding):
    architecture = Architecture(strides=(2, 2, 2), padding=padding)
    recipe = paper_recipe(
        architecture=architecture, optimizer="sgd", learning_rate=1e9, checkpoints=(2.5, 8)
    )
    trained = one(recipe, blobs())
    assert trained.diverged
    assert [c.step for c in trained.checkpoints] == [2.5, 8]
    assert np.isnan(trained.checkpoints[0].weights["head.weight"]).all()


def test_training_leaves_the_caller_s_pytorch_alone():
    threads = torch.get_num_threads()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    generator = train_networks(
        [paper_recipe(architecture=Architecture(strides=(2, 2), widths=(8, 8), padding="same"))],
        blobs(),
    )
    next(generator)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert torch.get_num_threads() == threads
    assert torch.rand(1) == expected


@pytest.mark.parametrize("index", range(0, 40, 4))
def test_wild_networks_train_and_their_weights_can_be_read(index):
    data = blobs(n_classes=5, size=16)
    wild = WildRecipe(n_train=120, n_test=50, max_steps=12, share_unstable=0.0)
    recipe = wild.draw(index, 1, data.facts)
    trained = one(recipe, data)
    assert len(trained.checkpoints) == len(recipe.checkpoints)
    assert not trained.diverged
    end = trained.checkpoints[-1]
    assert 0 <= end.test_accuracy <= 1
    module = build_module(recipe)
    shapes = {name: tuple(values.shape) for name, values in module.named_parameters()}
    assert {name: end.weights[name].shape for name in shapes} == shapes
    kernels = [name for name, shape in shapes.items() if len(shape) >= 2 and name != "position"]
    layers = read_weights(end.weights).layers
    assert sorted(layer.name for layer in layers) == sorted(
        name.removesuffix(".weight") for name in kernels
    )


def test_what_cannot_be_trained_is_refused_in_a_sentence():
    data = blobs()
    with pytest.raises(ZooError, match="backend"):
        next(train_networks([paper_recipe()], data, backend="caffe"))
    with pytest.raises(ZooError, match="'blobs'"):
        next(train_networks([paper_recipe()], dataclasses.replace(data, name="other")))
    with pytest.raises(ZooError, match="instead of 0 to 3"):
        dataclasses.replace(data, y_train=data.y_train + 1)
    with pytest.raises(ZooError, match="shape"):
        dataclasses.replace(data, x_test=data.x_test[0])
