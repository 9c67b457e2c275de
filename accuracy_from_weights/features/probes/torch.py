"""Answers of PyTorch modules to inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from accuracy_from_weights.errors import UnsupportedModelError, first_line
from accuracy_from_weights.features.input_spec import InputSpec
from accuracy_from_weights.features.probes.answers import Batch, as_vectors
from accuracy_from_weights.features.probes.training_range import Moments, expected_range
from accuracy_from_weights.features.probes.undisturbed import undisturbed
from accuracy_from_weights.weights.torch import refuse_sharded, unwrapped

# Numbers in the inputs that go through the network at once. What a small network computes of fewer
# stays in a processor's cache; a large one would read its weights too often.
_AT_ONCE_ON_DEVICE = 1 << 23
_AT_ONCE_ON_CPU, _AT_ONCE_SMALL = 1 << 20, 1 << 16
_SMALL_NETWORK = 1 << 18
_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def answers_of_module(
    module: nn.Module,
    spec: InputSpec,
    batches: Iterable[Batch],
    name: str | None = None,
    fit_range: bool = False,
) -> NDArray[np.generic]:
    """Run a module in evaluation mode, such that nothing about it changes.

    Parameters
    ----------
    module : torch.nn.Module
    spec : InputSpec
        Of the inputs.
    batches : iterable of (inputs, beside)
        Inputs of shape (n, *spec.shape), and arrays of the same length that go with them as named
        arguments.
    name : str, optional
        What the module calls its inputs. Defaults to its one positional argument.
    fit_range : bool, default False
        Whether to bring the inputs into the range that the running statistics of the first batch
        normalisation stem from.

    Returns
    -------
    ndarray of shape (n_inputs, n_outputs, ...)
        Outputs for all inputs, float32 or float64.

    Raises
    ------
    UnsupportedModelError
        When the module does not take such inputs, or does not answer each with one vector.
    """
    # A compiled module would be compiled again for these inputs, a parallel one would wait for
    # other processes.
    module = unwrapped(module)
    refuse_sharded(module)
    device, dtype = _place(module)
    if spec.kind == "tokens":
        dtype = torch.int64
    at_once = max(_at_once(module, device) // math.prod(spec.shape), 1)
    outputs = []
    with undisturbed(module, device):
        for inputs, beside in batches:
            scale, offset = 1.0, 0.0
            if fit_range:
                scale, offset = expected_range(
                    lambda x: _first_moments(module, torch.tensor(x, dtype=dtype, device=device)),
                    inputs,
                )
            for start in range(0, len(inputs), at_once):
                part = slice(start, start + at_once)
                x = torch.tensor(inputs[part], dtype=dtype, device=device)
                if (scale, offset) != (1.0, 0.0):
                    x = scale * x + offset
                named = {
                    key: torch.tensor(array[part], device=device) for key, array in beside.items()
                }
                outputs.append(_answers(module, spec, x, name, named))
        together = torch.cat(outputs)
        return together.to("cpu", _readable(together.dtype)).numpy()


def _at_once(module: nn.Module, device: torch.device) -> int:
    if device.type != "cpu":
        return _AT_ONCE_ON_DEVICE
    is_small = sum(p.numel() for p in module.parameters()) <= _SMALL_NETWORK
    return _AT_ONCE_SMALL if is_small else _AT_ONCE_ON_CPU


def _answers(
    module: nn.Module, spec: InputSpec, x: Tensor, name: str | None, named: dict[str, Tensor]
) -> Tensor:
    try:
        output = module(x, **named) if name is None else module(**{name: x}, **named)
    except Exception as error:
        advice = "pass the input_shape that it takes, without the batch axis"
        if isinstance(error, TypeError) and "required positional argument" in str(error):
            advice = "give its other arguments defaults, such as labels=None"
        raise UnsupportedModelError(
            f"{type(module).__name__} does not take {spec.kind} inputs of shape {spec.shape} as "
            f"its one argument ({type(error).__name__}: {first_line(error)}); {advice}."
        ) from error
    answers: Tensor = as_vectors(_logits_in(module, output), len(x), type(module).__name__)
    return answers


class _ReachedError(Exception):
    """Ends a forward pass at the first batch normalisation."""

    def __init__(self, layer: Any, values: Tensor) -> None:
        super().__init__()
        self.layer, self.values = layer, values


def _first_moments(module: nn.Module, x: Tensor) -> Moments | None:
    """Run a module up to its first batch normalisation; None where it does not come to one."""
    layers = [part for part in module.modules() if isinstance(part, _NORMALISATIONS)]

    def stop(layer: nn.Module, values: tuple[Tensor, ...]) -> None:
        raise _ReachedError(layer, values[0])

    handles = [
        layer.register_forward_pre_hook(stop) for layer in layers if layer.running_mean is not None
    ]
    try:
        if handles:
            module(x)
    except _ReachedError as reached:
        channels = reached.values.float().transpose(0, 1).flatten(1)
        moments = [channels.mean(1), channels.var(1, correction=0)]
        moments += [reached.layer.running_mean.float(), reached.layer.running_var.float()]
        return Moments(*torch.stack(moments).double().cpu().numpy())
    except Exception:  # noqa: BLE001 - the pass that follows says what is wrong
        return None
    finally:
        for handle in handles:
            handle.remove()
    return None


def _place(module: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Return the device and floating type of the first floating point parameter."""
    for tensor in (*module.parameters(), *module.buffers()):
        if nn.parameter.is_lazy(tensor) or tensor.is_meta:
            raise UnsupportedModelError(
                f"{type(module).__name__} has lazy or meta tensors and so no weights yet; run it "
                "once first."
            )
    for parameter in module.parameters():
        if parameter.is_floating_point():
            return parameter.device, parameter.dtype
    return torch.device("cpu"), torch.float32


def _logits_in(module: nn.Module, output: Any) -> Tensor:
    """Find the logits in what a module returns."""
    if isinstance(output, Mapping):
        output = output.get("logits", next(iter(output.values()), None))
    elif hasattr(output, "logits"):
        output = output.logits
    elif isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise UnsupportedModelError(
            f"{type(module).__name__} returns {type(output).__name__} and no tensor of class "
            "scores; let it return logits, or an object with an attribute of that name."
        )
    return output


def _readable(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype == torch.float64 else torch.float32
