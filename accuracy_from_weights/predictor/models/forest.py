"""Regression trees as plain arrays, independent of the library that grew them.

scikit-learn's own trees can only be kept as pickles, which run code when they are loaded and are
tied to one release. Here fitted trees are copied into arrays; predicting needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor

_ROWS_TIMES_TREES = 2_000_000
"""Rows are predicted in chunks of about so many (row, tree) pairs, to bound the memory."""


@dataclass(frozen=True, eq=False)
class Forest:
    """A constant plus the sum of trees.

    Attributes
    ----------
    feature : ndarray of shape (n_nodes,), int32
        The column that a node looks at; 0 at a leaf.
    threshold : ndarray of shape (n_nodes,), float32
        A value above it goes right; infinite at a leaf.
    left : ndarray of shape (n_nodes,), int32
        The left child; the right child is the next node. A leaf points at itself.
    value : ndarray of shape (n_nodes,), float32
        What a leaf adds to the sum.
    roots : ndarray of shape (n_trees,), int32
    constant : ndarray of shape (), float64
    depth : ndarray of shape (), int32
        Number of steps after which every row has reached its leaf.
    """

    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    left: NDArray[np.int32]
    value: NDArray[np.float32]
    roots: NDArray[np.int32]
    constant: NDArray[np.float64]
    depth: NDArray[np.int32]

    def __post_init__(self) -> None:
        n = len(self.feature)
        fits = (
            all(
                getattr(self, field.name).ndim == (0 if field.name in ("constant", "depth") else 1)
                for field in fields(self)
            )
            and len(self.threshold) == len(self.left) == len(self.value) == n
        )
        # Children stand after their parents, so that a walk can only end at a leaf.
        index = np.arange(n)
        leaf = self.left == index if fits else index
        if not (
            fits
            and n > 0
            and bool((leaf | ((self.left > index) & (self.left < n - 1))).all())
            and bool(((self.roots >= 0) & (self.roots < n)).all())
            and bool((self.feature >= 0).all())
            and 0 <= int(self.depth) <= n
            and bool(np.isfinite(self.value).all())
            and not bool(np.isnan(self.threshold).any())
        ):
            raise ValueError("arrays of trees whose nodes do not fit together")

    @property
    def n_features_needed(self) -> int:
        """The smallest number of columns that `predict` works on."""
        return int(self.feature.max()) + 1

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the sum of the trees' answers, of shape (n_rows,); numbers count as float32."""
        values = np.asarray(X, np.float32)
        result = np.full(len(values), float(self.constant))
        if not len(self.roots):
            return result
        chunk = max(1, _ROWS_TIMES_TREES // len(self.roots))
        for start in range(0, len(values), chunk):
            part = values[start : start + chunk]
            node = np.broadcast_to(self.roots, (len(part), len(self.roots)))
            row = np.arange(len(part))[:, None]
            for _ in range(int(self.depth)):
                right = part[row, self.feature[node]] > self.threshold[node]
                node = self.left[node] + right
            result[start : start + chunk] += self.value[node].sum(axis=1, dtype=np.float64)
        return result


def rounded_down(thresholds: NDArray[Any]) -> NDArray[np.float32]:
    """Return thresholds that a float32 value is above where it is above those of float64."""
    rounded = thresholds.astype(np.float32)
    below = np.nextafter(rounded, np.float32(-np.inf), dtype=np.float32)
    return np.where(rounded > thresholds, below, rounded)


def _tree(
    feature: NDArray[Any],
    threshold: NDArray[Any],
    value: NDArray[Any],
    children: tuple[NDArray[Any], NDArray[Any]],
) -> tuple[dict[str, NDArray[Any]], int]:
    """Renumber one tree level by level, so that two siblings stand side by side.

    Children are left and right ones; a number that is not above 0 marks a leaf.
    """
    left, right = (side.astype(np.int64) for side in children)
    is_leaf = left <= 0
    order, level, depth = [np.array([0])], np.array([0]), 0
    while True:
        inner = level[~is_leaf[level]]
        if not len(inner):
            break
        level = np.stack([left[inner], right[inner]], axis=1).ravel()
        order.append(level)
        depth += 1
    old = np.concatenate(order)
    new = np.empty(len(feature), np.int64)
    new[old] = np.arange(len(old))
    leaf = is_leaf[old]
    return {
        "feature": np.where(leaf, 0, feature[old]).astype(np.int32),
        "threshold": np.where(leaf, np.float32(np.inf), rounded_down(threshold[old])),
        "left": np.where(leaf, np.arange(len(old)), new[left[old]]).astype(np.int32),
        "value": np.where(leaf, value[old], 0).astype(np.float32),
    }, depth


def _join(trees: Iterable[tuple[dict[str, NDArray[Any]], int]], constant: float) -> Forest:
    parts, depths = zip(*trees, strict=True)
    sizes = np.array([len(part["feature"]) for part in parts])
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    arrays = {
        name: np.concatenate([part[name] for part in parts])
        for name in ("feature", "threshold", "value")
    }
    left = np.concatenate([part["left"] + root for part, root in zip(parts, roots, strict=True)])
    return Forest(
        **arrays,
        left=left.astype(np.int32),
        roots=roots.astype(np.int32),
        constant=np.array(constant, np.float64),
        depth=np.array(max(depths), np.int32),
    )


def constant_forest(value: float) -> Forest:
    """Return a forest that gives every row the same answer."""
    leaf = np.zeros(1)
    return _join([_tree(leaf, leaf, leaf, (leaf, leaf))], value)


def _of_boosting(model: HistGradientBoostingRegressor) -> Forest:
    # The nodes have no public name; `as_forest` compares predictions, so that a change in a later
    # release of scikit-learn is noticed when fitting and never later.
    trees = [predictor.nodes for (predictor,) in model._predictors]
    copies = (
        _tree(t["feature_idx"], t["num_threshold"], t["value"], (t["left"], t["right"]))
        for t in trees
    )
    return _join(copies, float(np.ravel(model._baseline_prediction)[0]))


def _of_extra_trees(model: ExtraTreesRegressor) -> Forest:
    trees, n = [member.tree_ for member in model.estimators_], len(model.estimators_)
    copies = (
        _tree(t.feature, t.threshold, t.value.ravel() / n, (t.children_left, t.children_right))
        for t in trees
    )
    return _join(copies, 0.0)


def as_forest(
    model: HistGradientBoostingRegressor | ExtraTreesRegressor, X: NDArray[np.float32]
) -> Forest:
    """Copy the trees of a model that scikit-learn fitted to numbers without missing values.

    Parameters
    ----------
    model : HistGradientBoostingRegressor or ExtraTreesRegressor
    X : ndarray of shape (n_rows, n_features)
        Rows on which both must agree.

    Raises
    ------
    RuntimeError
        When the copy predicts other numbers than the model: this release of scikit-learn keeps its
        trees in another way.
    """
    if isinstance(model, HistGradientBoostingRegressor):
        forest = _of_boosting(model)
    else:
        forest = _of_extra_trees(model)
    sample = X[:: max(1, len(X) // 200)]
    expected, received = model.predict(sample), forest.predict(sample)
    if not np.allclose(expected, received, rtol=1e-4, atol=1e-5):
        raise RuntimeError(
            f"The copied trees differ from scikit-learn's by "
            f"{np.abs(expected - received).max():.2g}; please report your scikit-learn version."
        )
    return forest
