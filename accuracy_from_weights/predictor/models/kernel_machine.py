"""Support vector regression as plain arrays, fitted by scikit-learn.

It is the smooth model of small zoos: on a few hundred rows of four hundred features a neural
network fits the noise, and a kernel machine still does well.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.svm import SVR

from accuracy_from_weights.predictor.models.standardising import spread_of, standardised

# The share of the features' mean squared difference that counts, the largest pull of one row, and
# the error that pulls not at all, the latter two in standard deviations of what is to be predicted.
# Chosen on networks of another program, on which README's figures for small zoos are measured, too.
_WIDTH, _PULL, _TOLERANCE = 0.25, 4.0, 0.04
_LARGEST_STEP = 3.0
"""A feature farther than so many deviations from the mean counts as so many."""
_PAIRS = 4_000_000
"""Rows are predicted in chunks of about so many (row, vector) pairs, to bound the memory."""


@dataclass(frozen=True, eq=False)
class KernelMachine:
    """A constant plus Gaussian bumps around rows that were fitted to.

    Attributes
    ----------
    centre, scale : ndarray of shape (n_features,)
    vectors : ndarray of shape (n_vectors, n_features)
        Standardised rows.
    heights : ndarray of shape (n_vectors,)
    sharpness : ndarray of shape ()
        A bump is ``exp(-sharpness * squared distance)``.
    constant : ndarray of shape ()
    """

    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    vectors: NDArray[np.float32]
    heights: NDArray[np.float32]
    sharpness: NDArray[np.float64]
    constant: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not (
            self.centre.ndim == 1
            and self.scale.shape == self.centre.shape
            and self.vectors.shape == (len(self.vectors), len(self.centre))
            and self.heights.shape == (len(self.vectors),)
            and self.sharpness.shape == self.constant.shape == ()
            and all(bool(np.isfinite(getattr(self, field.name)).all()) for field in fields(self))
            and bool((self.scale > 0).all())
            and self.sharpness > 0
        ):
            raise ValueError(
                "arrays of a kernel machine whose shapes do not fit together, or whose values are "
                "not finite"
            )

    @property
    def n_features_needed(self) -> int:
        """The number of columns that `predict` works on."""
        return len(self.centre)

    @classmethod
    def fit(
        cls,
        X: NDArray[np.float32],
        y: NDArray[np.float64],
        weights: NDArray[np.float64] | None = None,
    ) -> KernelMachine:
        """Fit to finite rows, in a time that grows with the square of their number."""
        centre, scale = spread_of(X)
        # Rounded as in half precision, which halves the predictor's file.
        z = standardised(X, centre, scale, _LARGEST_STEP).astype(np.float16).astype(np.float32)
        sharpness = _WIDTH / max(int((scale < np.inf).sum()), 1)
        # The solver stops at an error that is absolute: what it solves has deviation 1.
        middle, unit = float(y.mean()), max(float(y.std()), 1e-6)
        model = SVR(C=_PULL, epsilon=_TOLERANCE, gamma=sharpness)
        model.fit(z, (y - middle) / unit, sample_weight=weights)
        return cls(
            centre,
            np.where(np.isfinite(scale), scale, np.float32(np.finfo(np.float32).max)),
            z[model.support_],
            (unit * model.dual_coef_[0]).astype(np.float32),
            np.array(sharpness),
            np.array(middle + unit * float(model.intercept_[0])),
        )

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the function's values, of shape (n_rows,), at finite numbers taken as float32."""
        rows = np.asarray(X, np.float32)
        result = np.full(len(rows), float(self.constant))
        squares = (self.vectors**2).sum(axis=1)
        chunk = max(1, _PAIRS // max(len(self.vectors), 1))
        for start in range(0, len(rows), chunk):
            z = standardised(rows[start : start + chunk], self.centre, self.scale, _LARGEST_STEP)
            far = (z**2).sum(axis=1)[:, None] + squares - 2 * (z @ self.vectors.T)
            bumps = np.exp(-float(self.sharpness) * np.maximum(far, 0))
            result[start : start + chunk] += bumps @ self.heights
        return result
