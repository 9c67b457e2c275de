"""Some of a run's training examples, as they are and changed."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import InvalidArgumentError
from accuracy_from_weights.features.draws import Draws
from accuracy_from_weights.features.input_spec import InputSpec, on_host
from accuracy_from_weights.features.training_sample.perturbing import partners, perturb
from accuracy_from_weights.features.training_sample.quick_learner import (
    QuickLearner,
    learn_quickly,
)

SAMPLE_SIZE = 256
"""Examples of a sample, where there are as many."""
SMALLEST_SAMPLE = 16

_SEED = 20200713
_KEPT_BYTES = 1 << 26
# Names that the inputs of a mapping go by, in transformers and elsewhere.
_MAIN_NAMES = ("input_ids", "pixel_values", "input_values", "inputs", "images", "image", "x")


class TrainingSample:
    """Training examples of one run, balanced over the classes and fixed for the run.

    Parameters
    ----------
    x : array of shape (n, ...), or mapping of str to such arrays
        Training inputs as the network takes them: preprocessed, and not augmented where that can
        be had. Of a mapping the inputs themselves are changed and what lies beside them, such as
        an attention mask, goes with each example as it is.
    y : array of shape (n,) or (n, 1)
        Their classes from 0 on; or shape (n, n_classes), of which the largest counts.
    spec : InputSpec
        What one of the inputs is; see `input_spec`.

    Attributes
    ----------
    x : ndarray of shape (n, *spec.shape)
        At most 256 of the examples, each class as often as any where there are enough.
    classes : ndarray of shape (n,), int64
    weights : ndarray of shape (n,)
        How much each counts in a mean over the data that they were chosen from; their sum is 1.
    name : str or None
        What the network calls the inputs; None where they are its one positional argument.
    beside : dict of str to ndarray of shape (n, ...)
        Further arguments.

    Raises
    ------
    InvalidArgumentError
        When inputs and classes do not belong together, there are fewer than 16 examples, the
        classes are no whole numbers, or an input is not finite.
    """

    def __init__(self, x: Any, y: Any, spec: InputSpec) -> None:
        self.name, inputs, beside = _main_of(x)
        classes = _classes_of(y)
        if len(inputs) != len(classes):
            raise InvalidArgumentError(
                f"The training sample has {len(inputs)} inputs and {len(classes)} classes; pass "
                "one class for each input."
            )
        chosen = balanced_choice(classes)
        if len(chosen) < SMALLEST_SAMPLE:
            raise InvalidArgumentError(
                f"The training sample has {len(chosen)} examples with a class; pass at least "
                f"{SMALLEST_SAMPLE}, better {SAMPLE_SIZE}."
            )
        self.spec = spec
        self.classes = classes[chosen]
        often = np.bincount(classes[classes >= 0])[self.classes]
        weights = often / np.bincount(self.classes)[self.classes]
        self.weights = weights / weights.sum()
        self.beside = {name: on_host(values[chosen]) for name, values in beside.items()}
        values = on_host(inputs[chosen])
        if values.shape[1:] != spec.shape:
            raise InvalidArgumentError(
                f"An input of the training sample has the shape {values.shape[1:]} and not "
                f"{spec.shape}; pass inputs as the network takes them."
            )
        self.x = values.astype(np.int64 if spec.kind == "tokens" else np.float32)
        if not np.isfinite(self.x).all():
            raise InvalidArgumentError(
                "The training sample holds values that are NaN or infinite; pass others."
            )
        self.other, self.alike = partners(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    def variants(self) -> Iterator[tuple[str, NDArray[np.generic]]]:
        """Yield the examples as they are, named "clean", and changed in each way that fits."""
        yield "clean", self.x
        # Those of large images are made anew each time rather than kept.
        kept = 12 * self.x.nbytes <= _KEPT_BYTES
        changed = self._perturbed if kept else self._perturb()
        yield from changed.items()

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the variants, in their order."""
        return tuple(name for name, _ in self.variants())

    @functools.cached_property
    def learner(self) -> QuickLearner:
        """What simple learners make of the examples."""
        return learn_quickly(self.x, self.classes, self.spec)

    @functools.cached_property
    def _perturbed(self) -> dict[str, NDArray[np.generic]]:
        return self._perturb()

    def _perturb(self) -> dict[str, NDArray[np.generic]]:
        return perturb(self.x, self.spec, self.other, self.alike)


def balanced_choice(classes: NDArray[np.int64], size: int = SAMPLE_SIZE) -> NDArray[np.intp]:
    """Choose examples such that the classes are as even as they can be.

    Parameters
    ----------
    classes : ndarray of shape (n,)
        Examples of negative class, which losses ignore, are not chosen.
    size : int, default 256

    Returns
    -------
    ndarray of shape (at most size,)
        Places, ascending; always the same ones for the same classes.
    """
    order = Draws(_SEED).order(len(classes))
    order = order[classes[order] >= 0]
    by_class = order[np.argsort(classes[order], kind="stable")]
    _, counts = np.unique(classes[by_class], return_counts=True)
    turn = np.concatenate([np.arange(count) for count in counts]) if len(counts) else by_class
    # The first of each class, then the second of each, until there are enough.
    return np.sort(by_class[np.argsort(turn, kind="stable")[:size]])


def inputs_of(x: Any, n: int) -> NDArray[Any]:
    """Return the first n inputs of an array or of a mapping, as numpy on the host."""
    return on_host(_main_of(x)[1][:n])


def _main_of(x: Any) -> tuple[str | None, Any, dict[str, Any]]:
    """Split a mapping into the name of the inputs, the inputs, and what lies beside them."""
    if not isinstance(x, Mapping):
        return None, x if hasattr(x, "shape") else np.asarray(x), {}
    name = next((name for name in _MAIN_NAMES if name in x), None)
    if name is None:
        raise InvalidArgumentError(
            f"The training sample holds {', '.join(map(repr, x))}, of which none is known to be "
            f"the inputs; name them as one of {', '.join(map(repr, _MAIN_NAMES))}."
        )
    beside = {key: value for key, value in x.items() if key != name and hasattr(value, "shape")}
    return name, x[name], beside


def _classes_of(y: Any) -> NDArray[np.int64]:
    classes = on_host(y)
    if classes.ndim == 2:
        classes = classes[:, 0] if classes.shape[1] == 1 else classes.argmax(axis=1)
    is_whole = classes.ndim == 1 and classes.dtype.kind in "biuf"
    if not is_whole or not (classes == np.floor(classes)).all():
        raise InvalidArgumentError(
            "The classes of the training sample are no whole numbers from 0 on; pass y of shape "
            "(n,) with one class for each input."
        )
    return classes.astype(np.int64)
