"""Large tensors that stay on their device until their values are asked for, or are sent to one.

What is done to a tensor while a network is read (axes swapped, a fused kernel taken apart) is done
to a view of it on its device. Whatever else numpy is asked to do with it works too, on a copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import InvalidArgumentError, first_line, needs
from accuracy_from_weights.weights.layers import Array, Layer, NetworkWeights

Key = TypeVar("Key")

SMALL = 2**16
"""Tensors of no more values are copied at once: exact statistics need them all."""

_COPIED_FROM = ("cpu", "xla", "lazy")
"""Devices whose tensors numpy reads: on the CPU there is nothing to copy, and where computations
are compiled, statistics of so many shapes would take longer to compile than tensors to copy."""

_FLOATS = tuple(f"torch.{name}" for name in ("float16", "bfloat16", "float32", "float64"))


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """A tensor of PyTorch, strided, real and needing no gradient, seen as a read-only array."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return tuple(self.tensor.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.tensor.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(self.tensor.numel())

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a copy: float64 where the tensor's is, else float32."""
        return np.dtype(np.float64 if str(self.tensor.dtype) == "torch.float64" else np.float32)

    @property
    def T(self) -> DeviceArray:
        """With the order of the axes reversed."""
        return self.transpose()

    def transpose(self, *axes: Any) -> DeviceArray:
        """View with the axes in another order, as `numpy.ndarray.transpose`."""
        if len(axes) == 1 and not isinstance(axes[0], int):
            axes = tuple(axes[0])
        return DeviceArray(self.tensor.permute(axes or tuple(reversed(range(self.ndim)))))

    def swapaxes(self, first: int, second: int) -> DeviceArray:
        """View with two axes swapped."""
        return DeviceArray(self.tensor.transpose(first, second))

    def reshape(self, *shape: Any) -> DeviceArray:
        """View, or copy on the device, of another shape."""
        return DeviceArray(self.tensor.reshape(*shape))

    def astype(self, dtype: Any, copy: bool = True) -> NDArray[Any]:
        """Copy to the CPU."""
        return np.asarray(self).astype(dtype, copy=copy)

    def __getitem__(self, key: Any) -> DeviceArray:
        return DeviceArray(self.tensor[key])

    def __len__(self) -> int:
        return len(self.tensor)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        array = to_host(self.tensor).astype(self.dtype, copy=False)
        array.flags.writeable = False
        return array if dtype is None else array.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        copied = (np.asarray(x) if isinstance(x, DeviceArray) else x for x in inputs)
        return getattr(ufunc, method)(*copied, **options)


def stays_on_device(tensor: Any) -> bool:
    """Return whether a PyTorch tensor is large enough to be described on its device."""
    return tensor.device.type not in _COPIED_FROM and tensor.ndim > 1 and tensor.numel() > SMALL


def to_host(tensor: Any) -> NDArray[Any]:
    """Copy a tensor's values to the CPU: the one way by which they leave their device."""
    if str(tensor.dtype) not in ("torch.float32", "torch.float64"):
        tensor = tensor.float()
    array: NDArray[Any] = tensor.cpu().resolve_neg().numpy()
    return array


def small_to_host(tensors: Mapping[Key, Any]) -> dict[Key, Any]:
    """Copy a network's small tensors to the CPU, all that lie on one device in one piece.

    What is large, holds no plain floats, or is not PyTorch's stays as it is.
    """
    alike: dict[tuple[Any, bool], list[Key]] = {}
    for key, tensor in tensors.items():
        if _is_copied(tensor):
            is_double = str(tensor.dtype) == "torch.float64"
            alike.setdefault((tensor.device, is_double), []).append(key)
    found = dict(tensors)
    for keys in alike.values():
        import torch  # already imported: the tensors are made of it

        flat = to_host(torch.cat([tensors[key].detach().reshape(-1) for key in keys]))
        ends = np.cumsum([tensors[key].numel() for key in keys])[:-1]
        for key, piece in zip(keys, np.split(flat, ends), strict=True):
            found[key] = piece.reshape(tuple(tensors[key].shape))
    return found


def _is_copied(tensor: Any) -> bool:
    """Whether it is a plain tensor that would be copied from a device by itself."""
    if type(tensor).__name__ not in ("Tensor", "Parameter") or hasattr(tensor, "ds_id"):
        return False
    try:
        if tensor.device.type in (*_COPIED_FROM, "meta") or stays_on_device(tensor):
            return False
        return str(tensor.layout) == "torch.strided" and str(tensor.dtype) in _FLOATS
    except (RuntimeError, NotImplementedError, AttributeError):  # not PyTorch's
        return False


def check_device(name: str) -> None:
    """Check that PyTorch can compute on a device, which it calls "cpu", "cuda:1", "mps" and so on.

    Raises
    ------
    InvalidArgumentError
        When there is no such device here, or when it holds no values.
    MissingDependencyError
        When PyTorch is not installed.
    """
    with needs(f"Computing on {name!r} needs PyTorch", extra="torch"):
        import torch
    try:
        reason = None if (torch.ones(2, device=name) * 2).tolist() == [2, 2] else "wrong values"
    except Exception as error:  # noqa: BLE001  # a driver may raise anything here
        reason = first_line(error)
    if reason is not None:
        raise InvalidArgumentError(
            f"PyTorch cannot compute on {name!r} here ({reason}); choose a device such as cpu, "
            "cuda, cuda:1 or mps."
        )


def on_device(network: NetworkWeights, name: str) -> NetworkWeights:
    """Send a network's large kernels, as float32, to a device that `check_device` has passed."""
    return NetworkWeights(tuple(_sent(layer, name) for layer in network.layers))


def _sent(layer: Layer, name: str) -> Layer:
    import torch

    if layer.stored.size <= SMALL:
        return layer
    with np.errstate(over="ignore"):  # what has diverged is an infinity
        kernel = np.ascontiguousarray(layer.stored, np.float32)
    stored = DeviceArray(torch.tensor(kernel, device=name))
    return replace(layer, stored=cast(Array, stored))
