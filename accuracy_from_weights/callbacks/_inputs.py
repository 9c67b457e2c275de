"""The shape of one input, read from a batch as it passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_USUAL_NAMES = ("pixel_values", "image", "images", "inputs", "input", "x")


def input_shape_of(batch: Any) -> tuple[int, ...] | None:
    """Return the shape of one example in a batch, without the batch's axis.

    Parameters
    ----------
    batch
        An array whose first axis counts examples, or a tuple, list or mapping that holds one:
        the first that can be an input counts, in a mapping the one with a usual name before others.

    Returns
    -------
    None where nothing can be an input: labels have one axis, and token numbers two.
    """
    shape = getattr(batch, "shape", None)
    if shape is not None:
        is_float = "float" in str(getattr(batch, "dtype", ""))
        usable = len(shape) > 2 or (len(shape) == 2 and is_float)
        return tuple(int(length) for length in shape[1:]) if usable else None
    parts: Iterable[Any] = ()
    if isinstance(batch, Mapping):
        named = [batch[name] for name in _USUAL_NAMES if name in batch]
        parts = [*named, *batch.values()]
    elif isinstance(batch, (tuple, list)):
        parts = batch
    return next((shape for part in parts if (shape := input_shape_of(part)) is not None), None)
