"""A small neural network as plain arrays, fitted by scikit-learn.

Trees answer with constants and cannot go beyond what they saw; a smooth function beside them is
better on networks that differ a little from all of the zoo.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from accuracy_from_weights.predictor.models.standardising import spread_of, standardised

_LARGEST_STEP = 4.0
"""A feature farther than so many deviations from the mean counts as so many: no wild guesses."""
_MANY_ROWS = 8_000
# Widths, regularisation, and the steps' size in turn with the passes over the data at each: without
# small last steps a network is as good as the place where it happens to stop.
_FEW = ((64, 64), 0.3, ((2e-3, 50), (5e-4, 20), (1e-4, 10)))
_MANY = ((128, 64), 0.05, ((2e-3, 20), (5e-4, 8), (1e-4, 6)))


@dataclass(frozen=True, eq=False)
class Perceptron:
    """Two hidden layers of rectifiers on standardised features.

    Attributes
    ----------
    centre, scale : ndarray of shape (n_features,)
    weights0, weights1, weights2 : ndarray of shape (inputs, outputs)
    bias0, bias1, bias2 : ndarray of shape (outputs,)
    """

    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights0: NDArray[np.float32]
    bias0: NDArray[np.float32]
    weights1: NDArray[np.float32]
    bias1: NDArray[np.float32]
    weights2: NDArray[np.float32]
    bias2: NDArray[np.float32]

    def __post_init__(self) -> None:
        widths = [len(self.centre), len(self.bias0), len(self.bias1), 1]
        matrices = (self.weights0, self.weights1, self.weights2)
        if not (
            [matrix.shape for matrix in matrices] == list(pairwise(widths))
            and self.scale.shape == self.centre.shape == (widths[0],)
            and self.bias0.ndim == self.bias1.ndim == 1
            and self.bias2.shape == (1,)
            and all(bool(np.isfinite(getattr(self, field.name)).all()) for field in fields(self))
            and bool((self.scale > 0).all())
        ):
            raise ValueError(
                "arrays of a small network whose shapes do not fit together, or whose values are "
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
        random_state: int,
        weights: NDArray[np.float64] | None = None,
    ) -> Perceptron:
        """Fit to finite rows; weights say how much each counts."""
        if weights is not None:
            # scikit-learn's network takes weights since 1.7 only: rows are drawn by them instead.
            generator = np.random.default_rng(random_state)
            drawn = generator.choice(len(y), size=len(y), p=weights / weights.sum())
            X, y = X[drawn], y[drawn]
        centre, scale = spread_of(X)
        widths, alpha, schedule = _FEW if len(y) < _MANY_ROWS else _MANY
        model = MLPRegressor(
            hidden_layer_sizes=widths, alpha=alpha, warm_start=True, random_state=random_state
        )
        with warnings.catch_warnings():
            # Stopping early is the intent: it regularises.
            warnings.simplefilter("ignore", ConvergenceWarning)
            for step, passes in schedule:
                model.set_params(max_iter=passes, learning_rate_init=step)
                model.fit(standardised(X, centre, scale, _LARGEST_STEP), y)
        layers: dict[str, NDArray[np.float64]] = {}
        for k, (matrix, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
            layers |= {f"weights{k}": matrix, f"bias{k}": bias}
        used = np.isfinite(scale)
        layers["weights0"] = np.where(used[:, None], layers["weights0"], 0)
        return cls(
            centre,
            np.where(used, scale, np.float32(1)),
            **{name: array.astype(np.float32) for name, array in layers.items()},
        )

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the network's outputs, of shape (n_rows,), for finite numbers taken as float32."""
        z = standardised(np.asarray(X, np.float32), self.centre, self.scale, _LARGEST_STEP)
        z = np.maximum(z @ self.weights0 + self.bias0, 0)
        z = np.maximum(z @ self.weights1 + self.bias1, 0)
        return np.asarray((z @ self.weights2 + self.bias2)[:, 0], np.float64)
