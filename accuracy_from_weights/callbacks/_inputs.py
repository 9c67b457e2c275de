"""What probes need to know of a network's inputs: their shape, read from a batch as it passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

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


class _SeesBatches(Protocol):
    def see_batch(self, batch: Any) -> None: ...
    def guard(self, what: str, work: Callable[[], Any], topic: str | None = None) -> Any: ...


class FirstBatch:
    """Shows the inputs of a PyTorch module's next forward pass to an `EpochEstimator`, once."""

    def __init__(self, epochs: _SeesBatches) -> None:
        self._epochs = epochs
        self._hook: Any = None

    def watch(self, module: Any) -> None:
        """Wait for the module's next forward pass."""
        self.leave()

        def hook(module: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            self._epochs.guard(
                "reading the shape of a batch", lambda: self._look([named, *inputs]), "the estimate"
            )

        self._hook = module.register_forward_pre_hook(hook, with_kwargs=True)

    def leave(self) -> None:
        """Take the hook off the module."""
        hook, self._hook = self._hook, None
        if hook is not None:
            hook.remove()

    def _look(self, batch: list[Any]) -> None:
        self.leave()
        self._epochs.see_batch(batch)


def network_of(module: Any) -> Any:
    """Return what of a LightningModule can be called with inputs alone.

    Many a module has its network in one attribute and no ``forward`` of its own.
    """
    has_forward = any(
        "forward" in vars(kind)
        for kind in type(module).__mro__
        if kind.__name__ not in ("LightningModule", "Module")
    )
    inner = [part for part in module.children() if any(True for _ in part.parameters())]
    return inner[0] if len(inner) == 1 and not has_forward else module
