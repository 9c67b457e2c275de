"""Several processes that train one network have to decide alike."""

from __future__ import annotations

from accuracy_from_weights.callbacks.base import Observation


def as_first_process(seen: Observation, stops: bool) -> tuple[Observation, bool]:
    """Return what the first process has seen and whether its rule stops, on every process.

    The statistics of batch normalisation differ from process to process, and so may estimates: one
    process would stop and the others wait for it. Every process has to call this; it is for
    PyTorch, and for one process it does nothing.
    """
    from torch import distributed

    alone = not (distributed.is_available() and distributed.is_initialized())
    if alone or distributed.get_world_size() == 1:
        return seen, stops
    box = [(seen, stops)]
    distributed.broadcast_object_list(box, src=0)
    return box[0]
