"""How well a sample's classes can be told by simple learners: how hard the task is.

Each example is classified by the others, its nearest neighbours or a kernel ridge regression, so
that nothing is judged on what it was fitted to. A network that knows its examples far better than
such learners can has either learnt more than they could, or its examples by heart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features.draws import Draws
from accuracy_from_weights.features.input_spec import InputSpec

_Floats = NDArray[np.float64]
_Classes = NDArray[np.int64]

_SEED = 19700201
NEIGHBOURS = 5
_RIDGE = 0.03
_TINY = 1e-12
# Images larger than this are averaged down before they are compared.
_LARGEST_SIDE = 32
# Tokens and pairs of tokens are counted in so many buckets.
_BUCKETS = 4096
_MULTIPLIER = 2654435761


@dataclass(frozen=True, eq=False)
class QuickLearner:
    """What simple learners make of a sample of n examples.

    Attributes
    ----------
    nearest, nearest_five : float
        Accuracy of the nearest neighbour's class and of the five nearest ones', fractions.
    votes : float
        Share of the five nearest that are of the example's class.
    accuracy : float
        Of the kernel ridge regression.
    half_accuracy : float
        Of the regression with half of the sample.
    answers, nearest_answers : ndarray of shape (n,)
        Classes that the regression and the five nearest answer with.
    margins : ndarray of shape (n,)
        Its output for the example's class less the largest other one.
    """

    nearest: float
    nearest_five: float
    votes: float
    accuracy: float
    half_accuracy: float
    answers: _Classes
    nearest_answers: _Classes
    margins: _Floats


def learn_quickly(x: NDArray[np.generic], classes: _Classes, spec: InputSpec) -> QuickLearner:
    """Classify each example of a sample by the others.

    Parameters
    ----------
    x : ndarray of shape (n, *spec.shape)
    classes : ndarray of shape (n,)
    spec : InputSpec
    """
    far = squared_distances(_comparable(x, spec))
    kernel = np.exp(-far / max(float(np.median(far[~np.eye(len(far), dtype=bool)])), _TINY))
    outputs = _left_out(kernel, classes)
    five, votes = neighbours(far, classes, NEIGHBOURS)
    nearest, _ = neighbours(far, classes, 1)
    half = Draws(_SEED).order(len(classes)) % 2 == 0
    parts = [
        _accuracy(_left_out(kernel[np.ix_(part, part)], classes[part]), classes[part])
        for part in (half, ~half)
    ]
    return QuickLearner(
        nearest=float((nearest == classes).mean()),
        nearest_five=float((five == classes).mean()),
        votes=votes,
        accuracy=_accuracy(outputs, classes),
        half_accuracy=float(np.mean(parts)),
        answers=outputs.argmax(axis=1),
        nearest_answers=five,
        margins=margins(outputs, classes),
    )


def squared_distances(x: _Floats) -> _Floats:
    """Return the squared distances, shape (n, n), between rows of shape (n, d)."""
    x = x - x.mean(axis=0)
    squares = (x**2).sum(axis=1)
    far: _Floats = np.maximum(squares[:, None] + squares - 2 * (x @ x.T), 0)
    np.fill_diagonal(far, 0)
    return far


def neighbours(far: _Floats, classes: _Classes, k: int) -> tuple[_Classes, float]:
    """Return the commonest class of each example's k nearest others, and the share of its own.

    Parameters
    ----------
    far : ndarray of shape (n, n)
        Distances, on any scale.
    classes : ndarray of shape (n,)
    k : int

    Returns
    -------
    answers : ndarray of shape (n,)
    votes : float
        Share of all neighbours that are of the example's class.
    """
    n = len(far)
    k = min(k, n - 1)
    own = np.eye(n, dtype=bool)
    nearest = np.argsort(np.where(own, np.inf, far), axis=1, kind="stable")[:, :k]
    labels = classes[nearest]
    # The nearer decide between classes with as many votes.
    weights = 1.0 + 0.5 ** np.arange(1, k + 1)[:, None] / n
    votes = (weights * (labels[:, :, None] == np.arange(classes.max() + 1))).sum(axis=1)
    return votes.argmax(axis=1), float((labels == classes[:, None]).mean())


def margins(outputs: _Floats, classes: _Classes) -> _Floats:
    """Return each row's output for its class less the largest of the others, shape (n,)."""
    rows = np.arange(len(outputs))
    others = outputs.copy()
    others[rows, classes] = -np.inf
    less: _Floats = outputs[rows, classes] - others.max(axis=1)
    return less


def _left_out(kernel: _Floats, classes: _Classes) -> _Floats:
    """Return what kernel ridge regression answers each example with when it is left out.

    The closed form of Cawley & Talbot (2003): the residual over the diagonal of the inverse.
    """
    n = len(classes)
    wanted = np.eye(max(int(classes.max()) + 1, 2))[classes]
    mean = wanted.mean(axis=0)
    inverse = np.linalg.inv(kernel + _RIDGE * np.trace(kernel) / n * np.eye(n))
    left_out: _Floats = wanted - (inverse @ (wanted - mean)) / np.diag(inverse)[:, None]
    return left_out


def _accuracy(outputs: _Floats, classes: _Classes) -> float:
    return float((outputs.argmax(axis=1) == classes).mean())


def _comparable(x: NDArray[np.generic], spec: InputSpec) -> _Floats:
    """Return rows of shape (n, d) whose distances mean something for the kind of input."""
    n = len(x)
    if spec.kind == "tokens":
        tokens = np.asarray(x, np.int64)
        pairs = (tokens[:, :-1] * _MULTIPLIER + tokens[:, 1:] + 1) % (2**32)
        counts = np.zeros((n, 2 * _BUCKETS))
        for row in range(n):
            counts[row] += np.bincount(tokens[row] % _BUCKETS, minlength=2 * _BUCKETS)
            counts[row] += np.bincount(_BUCKETS + pairs[row] % _BUCKETS, minlength=2 * _BUCKETS)
        return np.sqrt(counts[:, counts.any(axis=0)])
    images = spec.as_images(x)
    if spec.kind == "table":
        rows = images.reshape(n, -1).astype(np.float64)
        return (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), _TINY)
    for axis in (2, 3):
        step = -(-images.shape[axis] // _LARGEST_SIDE)
        if step > 1:
            starts = np.arange(0, images.shape[axis] - step + 1, step)
            images = np.add.reduceat(images, starts, axis=axis) / step
    return images.reshape(n, -1).astype(np.float64)
