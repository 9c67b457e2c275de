"""Tensors of any framework as numpy arrays, without importing a framework that is not in use.

A tensor of PyTorch can only exist where PyTorch is already imported, so it is recognised by the
name of its type's module, and nothing is imported here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import numpy as np

from accuracy_from_weights.errors import UnsupportedModelError, first_line
from accuracy_from_weights.weights.device_arrays import DeviceArray, stays_on_device, to_host
from accuracy_from_weights.weights.layers import Array


class Float8Array(np.ndarray):
    """8-bit floats that a file's reader has widened to float32, whose scale may lie beside them."""


def is_array(value: object) -> bool:
    """Return whether the value is a tensor or array of any framework, or a scalar one.

    The type is asked, not the value: a lazy tensor of PyTorch refuses to tell its shape.
    """
    kind = type(value)
    return hasattr(kind, "shape") and hasattr(kind, "dtype")


def known_shape(value: Any) -> tuple[int, ...] | None:
    """Return an array's shape, or None where it is not known yet."""
    try:
        return tuple(value.shape)
    except (RuntimeError, TypeError, ValueError):
        return None


def to_numpy(value: Any, name: str) -> Array | None:
    """Return the values of an array, tensor or variable of any framework.

    float32 and float64 are kept, as read-only views of the given memory where it is on the CPU;
    half precision, bfloat16, float8 and integers become float32. A large tensor of PyTorch on a
    GPU stays there, as a `DeviceArray`. None stands for what holds no weights: no axis, no value,
    booleans, text.

    Raises
    ------
    UnsupportedModelError
        When the values are not on this machine (meta, fake, lazy, sharded or deleted tensors), or
        are complex numbers.
    """
    if not isinstance(value, np.ndarray | np.generic):
        value = tensor_in(value)
        if bases_of(value, "torch"):
            value = _from_torch(value, name)
        else:
            try:
                value = np.asarray(value)
            except Exception as error:  # noqa: BLE001  # a framework may raise anything here
                raise UnsupportedModelError(
                    f"The values of {name!r}, of type {type(value).__name__}, cannot be read "
                    f"({first_line(error)})."
                ) from None
    if isinstance(value, DeviceArray):
        return cast(Array, value)  # for the little that readers do to an array it is one
    if value is None or value.ndim == 0 or value.size == 0:
        return None
    if value.dtype.kind == "c":
        raise _complex(name)
    return _as_floating(value)


def _as_floating(array: np.ndarray[Any, Any]) -> Array | None:
    if array.dtype in (np.float32, np.float64):
        # Fields of the opposite byte order are legal in .npy and .h5 files.
        floating = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    elif array.dtype.kind in "fiu" or _is_extension_float(array.dtype):
        with np.errstate(all="ignore"):  # a long double beyond float32 is an infinity
            floating = array.astype(np.float32)
    else:
        return None
    view: Array = floating.view(np.ndarray)
    view.flags.writeable = False
    return view


def _is_extension_float(dtype: np.dtype[Any]) -> bool:
    """bfloat16, float8 and int4 of the library ml_dtypes, which numpy calls void or raw."""
    return type(dtype).__module__.startswith("ml_dtypes") or dtype.type.__module__ == "ml_dtypes"


def tensor_in(value: Any) -> Any:
    """Take the tensor out of a Keras or Flax variable."""
    if not bases_of(value).isdisjoint({"KerasVariable", "Variable", "Param"}):
        inner = getattr(value, "value", None)
        if inner is not None and not callable(inner):
            return inner
    return value


def bases_of(value: object, framework: str | None = None) -> frozenset[str]:
    """Return the names of the classes that a value belongs to; of one framework's, if given."""
    return _names(type(value), framework)  # type: ignore[arg-type]  # classes can be hashed


@lru_cache(maxsize=512)  # a network has many tensors and layers of few classes
def _names(kind: type[object], framework: str | None) -> frozenset[str]:
    return frozenset(
        base.__name__
        for base in kind.__mro__
        if framework in (None, base.__module__.partition(".")[0])
    )


def _from_torch(tensor: Any, name: str) -> np.ndarray[Any, Any] | DeviceArray | None:
    import torch  # already imported: the tensor is made of it

    type_name = type(tensor).__name__
    if isinstance(tensor, torch.nn.UninitializedParameter | torch.nn.UninitializedBuffer):
        raise UnsupportedModelError(
            f"{name!r} is a lazy tensor, which has no shape yet; run one batch through the network "
            "first."
        )
    if type_name in ("DTensor", "ShardedTensor") or hasattr(tensor, "ds_id"):
        raise UnsupportedModelError(
            f"{name!r} is a sharded tensor ({type_name}), not whole on this process; gather a full "
            "state dict first and read that."
        )
    if tensor.is_meta or type_name == "FakeTensor":
        raise UnsupportedModelError(
            f"{name!r} is a tensor without values (meta device); load the weights first."
        )
    tensor = tensor.detach()
    if tensor.is_complex():
        raise _complex(name)
    if tensor.dtype == torch.bool:
        return None
    # torchao and optimum-quanto have tensors that are quantised and say otherwise.
    if tensor.is_quantized or type(tensor).dequantize is not torch.Tensor.dequantize:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return DeviceArray(tensor) if stays_on_device(tensor) else to_host(tensor)


def _complex(name: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{name!r} holds complex numbers, which no statistic here is made for; only networks of "
        "real weights can be read."
    )
