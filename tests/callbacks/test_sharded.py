"""Weights that no process holds whole, or without values: one sentence, and training goes on."""

from __future__ import annotations

import lightning.pytorch as root
import pytest
import torch
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DeviceMesh, Shard, distribute_module, distribute_tensor

from accuracy_from_weights.callbacks.lightning import AccuracyFromWeights
from accuracy_from_weights.callbacks.torch import Monitor
from accuracy_from_weights.errors import AccuracyFromWeightsWarning
from tests.callbacks.lightning_runs import QUIET, fit, make_network
from tests.callbacks.loop import KEY, network, train
from tests.callbacks.scripted import ReadsWeights, ours_among
from tests.callbacks.sharding import group_of_one


@pytest.fixture
def mesh(tmp_path):
    with group_of_one(tmp_path) as mesh:
        yield mesh


def sharded_by_hand(mesh: DeviceMesh) -> torch.nn.Module:
    def shard(name: str, module: torch.nn.Module, mesh: DeviceMesh) -> None:
        for key, tensor in list(module.named_parameters(recurse=False)):
            whole = distribute_tensor(tensor.data, mesh, [Shard(0)])
            module.register_parameter(key, torch.nn.Parameter(whole))

    return distribute_module(torch.nn.Linear(8, 4), mesh, shard)


def without_values(mesh: DeviceMesh) -> torch.nn.Module:
    with torch.device("meta"):
        return torch.nn.Linear(8, 4)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (sharded_by_hand, "whole on this process.* gather a full state dict first"),
        (
            lambda mesh: fully_shard(torch.nn.Linear(8, 4), mesh=mesh),
            "whole on this process.* gather a full state dict first",
        ),
        (without_values, "without values.* load the weights first"),
    ],
    ids=["DTensor", "fully_shard", "meta"],
)
def test_weights_that_cannot_be_read_are_one_sentence(mesh, make, expected):
    model, monitor = make(mesh), Monitor(ReadsWeights())
    with pytest.warns(AccuracyFromWeightsWarning, match=expected) as caught:
        seen = [list(monitor.update(model).values()) for _ in range(3)]
    assert len(ours_among(caught)) == 1
    assert seen == [[0.0, 0.0, 1.0, 0.0]] * 3


@pytest.mark.filterwarnings(*QUIET)
def test_lightning_trains_a_sharded_network_on_with_one_sentence(mesh):
    module = make_network(root)
    fully_shard(module.net, mesh=mesh)
    with pytest.warns(AccuracyFromWeightsWarning, match="a sharded tensor") as caught:
        trainer, _ = fit(root, [AccuracyFromWeights(ReadsWeights())], 2, network=module)
    assert len(ours_among(caught)) == 1
    assert trainer.current_epoch == 2
    assert KEY not in trainer.callback_metrics


def test_a_fully_sharded_network_trains_on_as_without(mesh):
    ends = []
    for watched in (False, True):
        model, monitor = fully_shard(network(3), mesh=mesh), Monitor(ReadsWeights())

        def after_epoch(epoch, watched=watched, model=model, monitor=monitor):
            if watched and epoch == 0:
                with pytest.warns(AccuracyFromWeightsWarning, match="a sharded tensor"):
                    monitor.update(model, epoch)
            elif watched:
                assert monitor.update(model, epoch)[KEY] == 0.0

        losses = train(model, 3, after_epoch)
        tensors = [parameter.full_tensor() for parameter in model.parameters()]
        ends.append((losses, [tensor.detach().numpy().tobytes() for tensor in tensors]))
    assert ends[0] == ends[1]
