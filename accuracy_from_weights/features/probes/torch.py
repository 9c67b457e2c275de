"""Answers of PyTorch modules to the synthetic inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.features.probes.inputs import synthetic_inputs
from accuracy_from_weights.features.probes.undisturbed import undisturbed
from accuracy_from_weights.weights.torch import refuse_sharded, unwrapped

# Numbers in the inputs that go through the network at once.
_AT_ONCE = 1 << 20


def answer_with_torch(module: nn.Module, shape: tuple[int, ...] | None) -> NDArray[np.generic]:
    """Feed a module the synthetic inputs, and after them the changed ones.

    Parameters
    ----------
    module : torch.nn.Module
    shape : tuple of int or None
        Of one input, channels first.

    Returns
    -------
    ndarray of shape (2 * N_INPUTS, ...)
        Its outputs, float32 or float64.

    Raises
    ------
    UnsupportedModelError
        When the shape is None or the module does not take such inputs.
    """
    if shape is None:
        raise UnsupportedModelError(
            "Expected input_shape, the shape of one input without the batch axis, such as "
            "(3, 32, 32): a PyTorch module does not know its own. Received: None."
        )
    # A compiled module would be compiled again for these inputs, a parallel one would wait for
    # other processes.
    module = unwrapped(module)
    refuse_sharded(module)
    inputs = np.concatenate(synthetic_inputs(shape))
    at_once = min(max(_AT_ONCE // math.prod(shape), 1), len(inputs))
    device, dtype = _place(module)
    outputs = []
    with undisturbed(module, device):
        for start in range(0, len(inputs), at_once):
            x = torch.tensor(inputs[start : start + at_once], dtype=dtype, device=device)
            try:
                answers = _answers_of(module(x))
            except UnsupportedModelError:
                raise
            except Exception as error:
                raise UnsupportedModelError(
                    f"Expected a network that takes inputs of shape {shape}, without the batch "
                    f"axis, as its one argument. Received: {type(module).__name__}, which raised "
                    f"{type(error).__name__} ({_first_line(error)}); pass another input_shape."
                ) from error
            outputs.append(answers.to("cpu", _readable(answers.dtype)).numpy())
    return np.concatenate(outputs)


def _place(module: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and floating type of the first floating point parameter."""
    for tensor in (*module.parameters(), *module.buffers()):
        if nn.parameter.is_lazy(tensor) or tensor.is_meta:
            raise UnsupportedModelError(
                "Expected a network whose weights are all there. Received: "
                f"{type(module).__name__} with lazy or meta tensors; run it once first."
            )
    for parameter in module.parameters():
        if parameter.is_floating_point():
            return parameter.device, parameter.dtype
    return torch.device("cpu"), torch.float32


def _answers_of(output: Any) -> Tensor:
    """Find the logits in what a module returns."""
    if isinstance(output, Mapping):
        output = output.get("logits", next(iter(output.values()), None))
    elif hasattr(output, "logits"):
        output = output.logits
    elif isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise UnsupportedModelError(
            "Expected a network that returns a tensor of logits, or an object with one called "
            f"logits. Received: {type(output).__name__}."
        )
    return output


def _readable(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype == torch.float64 else torch.float32


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
