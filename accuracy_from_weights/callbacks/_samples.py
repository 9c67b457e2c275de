"""How many samples a network is trained on, as far as a loader of batches tells.

Of what a training loop knows for free, this says most about how far its accuracy misleads.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

Samples = Callable[[], "int | None"]


def samples_of(loader: Any) -> int | None:
    """Count the samples of an epoch.

    Parameters
    ----------
    loader
        What yields the batches: its data set is asked, else its batches are multiplied by their
        size. None where neither has a length, as with a stream.
    """
    known = _length(getattr(loader, "dataset", None))
    if known is None:
        batches, size = _length(loader), getattr(loader, "batch_size", None)
        known = None if batches is None or not isinstance(size, int) else batches * size
    return known


def samples_of_fit() -> int | None:
    """Count the samples that the Keras ``fit`` on the stack iterates over; None where unknown.

    Keras tells its callbacks the number of batches alone, and not their size.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        adapter = getattr(frame.f_locals.get("epoch_iterator"), "data_adapter", None)
        if adapter is not None:
            batches, size = adapter.num_batches, adapter.batch_size
            if not batches or not size or not math.isfinite(batches):
                return None
            last = adapter.partial_batch_size if adapter.has_partial_batch else None
            return int((batches - 1) * size + (last or size))
        frame = frame.f_back
    return None


def _length(something: Any) -> int | None:
    try:
        return len(something) or None
    except (TypeError, NotImplementedError, AttributeError):
        return None
