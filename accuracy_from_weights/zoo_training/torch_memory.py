"""Number of networks that a device's memory holds at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo_training.torch_networks import TorchNetworks

_MOST = 512
_USUAL_BYTES = 1 << 27
# Weights, gradients, two moments and room to work in.
_COPIES_OF_WEIGHTS = 6
# The backward pass holds the values and their gradients.
_COPIES_OF_VALUES = 2
_SHARE_OF_FREE = 0.6


def networks_at_once(device: str) -> int:
    """Return how many networks of the usual size to train at once on a device of PyTorch.

    All devices but CUDA GPUs get 1, these a power of two, so that a zoo's plan is the same on all
    cards of one size.
    """
    where = torch.device(device)
    if where.type != "cuda":
        return 1
    fits = torch.cuda.get_device_properties(where).total_memory // _USUAL_BYTES
    return max(1, min(_MOST, 1 << (fits.bit_length() - 1)))


def networks_that_fit(recipe: NetworkRecipe, device: torch.device) -> int:
    """Return how many networks like a recipe's fit into the free memory of a CUDA GPU.

    Other devices have no limit. The need of one network is measured: the values that its forward
    pass keeps for the backward pass.
    """
    if device.type != "cuda":
        return 1 << 30
    free, _ = torch.cuda.mem_get_info(device)
    # Memory that PyTorch has reserved but not allocated is free, too.
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(1, int(_SHARE_OF_FREE * free) // bytes_of(recipe))


def bytes_of(recipe: NetworkRecipe) -> int:
    """Return the bytes that one network takes while it trains."""
    networks = TorchNetworks([recipe], torch.device("cpu"))
    kept: dict[int, int] = {}

    def keep(values: Tensor) -> Tensor:
        storage = values.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return values

    kind = torch.int64 if networks.form.kind == "tokens" else torch.float32
    x = torch.zeros((1, recipe.batch_size, *networks.form.shape), dtype=kind)
    shapes = networks.dropout_shapes(1) if recipe.dropout_threshold else []
    masks = [torch.ones((1, recipe.batch_size, *shape)) for shape in shapes]
    networks.train(False)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda values: values):
        logits = networks.logits(x, masks)
        nn.functional.log_softmax(logits, -1)
    values = sum(kept.values()) + x.nbytes
    return _COPIES_OF_VALUES * values + _COPIES_OF_WEIGHTS * networks.weights.nbytes
