from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.architecture import Architecture
from accuracy_from_weights.zoo.recipes.paper import PaperRecipe
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo_training import torch_backend, torch_stack_training
from accuracy_from_weights.zoo_training.tasks import prepare_data
from accuracy_from_weights.zoo_training.torch_stack_training import StackTraining
from accuracy_from_weights.zoo_training.training import ImageData, train_networks
from tests.zoo_training.blobs import blobs
from tests.zoo_training.plain_loop import train_plainly


def recipes(data: ImageData, **changes: object) -> list[NetworkRecipe]:
    """Four networks that can be trained at once; optimisers, dropout and rates differ."""
    drawn = PaperRecipe(epochs=3, checkpoints=(0, 3), batch_size=32, n_train=200).draw(
        0, 0, data.facts
    )
    drawn = dataclasses.replace(
        drawn,
        task=dataclasses.replace(drawn.task, form=data.facts.form, n_train=150),
        batch_size=32,
        init_std=0.2,
        initialiser="glorot_normal",
        l2=1e-3,
        **changes,
    )
    return [
        dataclasses.replace(
            drawn, seed=1, order_seed=11, optimizer="adam", learning_rate=3e-3, dropout=0.4
        ),
        dataclasses.replace(
            drawn, seed=2, order_seed=12, optimizer="sgd", learning_rate=5e-2, dropout=0.0
        ),
        dataclasses.replace(
            drawn, seed=3, order_seed=13, optimizer="momentum", learning_rate=2e-2, dropout=0.1
        ),
        dataclasses.replace(
            drawn, seed=4, order_seed=11, optimizer="rmsprop", learning_rate=2e-3, dropout=0.7
        ),
    ]


@pytest.mark.parametrize(
    ("architecture", "channels"),
    [
        (Architecture(strides=(2, 2, 2), activation="relu"), 1),
        (Architecture(strides=(2, 2, 2), activation="tanh"), 1),
        (Architecture(widths=(5, 7), strides=(1, 2), kernel_size=4, activation="relu"), 3),
        (Architecture(widths=(6, 9), strides=(3, 1), kernel_size=3, activation="tanh"), 2),
    ],
)
@pytest.mark.parametrize("images_at_once", [12, 64, 4096], ids="{}-images".format)
def test_many_at_once_end_as_one_at_a_time_in_a_plain_loop(
    architecture, channels, images_at_once, monkeypatch
):
    # 12: parts of a mini-batch; 64: two networks at once, and more on the other side; 4096: all
    # networks at once, as on an accelerator.
    monkeypatch.setitem(torch_stack_training.IMAGES_AT_ONCE, "cpu", images_at_once)
    data = blobs(channels=channels)
    asked = recipes(data, architecture=architecture)
    trained = {net.recipe: net for net in train_networks(asked, data)}
    assert set(trained) == set(asked)
    for recipe in asked:
        expected = train_plainly(recipe, data)
        got = trained[recipe].checkpoints[-1].weights
        start = trained[recipe].checkpoints[0].weights
        assert list(got) == list(expected)
        for name in expected:
            np.testing.assert_allclose(got[name], expected[name], atol=1e-4, err_msg=name)
        moved = max(np.abs(got[name] - start[name]).max() for name in got)
        assert moved > 3e-3


def test_a_group_too_large_for_the_memory_is_trained_in_halves(monkeypatch):
    data = blobs()
    asked = recipes(data)
    whole = {network.recipe: network for network in train_networks(asked, data)}
    train_group = torch_backend._train_group

    def out_of_memory(group, device):
        if len(group) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train_group(group, device)

    monkeypatch.setattr(torch_backend, "_train_group", out_of_memory)
    most = 1
    for network in train_networks(asked, data):
        for name, weights in whole[network.recipe].checkpoints[-1].weights.items():
            np.testing.assert_allclose(network.checkpoints[-1].weights[name], weights, atol=1e-5)
    most = 0
    with pytest.raises(ZooError, match="too little memory to train one network"):
        list(train_networks(asked, data))


def test_a_step_stays_on_its_device_and_asks_it_for_no_value():
    # Tensors of PyTorch's device "meta" meet no others and have no values: what works there can be
    # recorded on a GPU.
    data = blobs()
    asked = recipes(data)
    images = prepare_data(asked[0].task, data)
    with torch.inference_mode():
        training = StackTraining(asked, images, None, torch.device("meta"))
        indices, targets = training._shuffle(0)
        assert indices.is_meta
        assert targets.is_meta
        training._train_step()
