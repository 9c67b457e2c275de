"""Whether a network looks like those that the predictor has seen.

The distance of a network is that to its nearest neighbours in the zoo, in features scaled by the
zoo's spread. It is not reported: its p-value is, the share of the zoo's own networks that lie at
least as far from all runs but their own (a conformal p-value; Laxhammar & Falkman 2010,
"Conformal prediction for distribution-independent anomaly detection").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_NEIGHBOURS = 3
_REFERENCES = 800
"""Networks kept to measure distances to: enough for the shape of a zoo, and under 2 MB."""
_LARGEST_STEP = 20.0
"""A feature farther off than so many of the zoo's spreads counts as so many."""


@dataclass(frozen=True, eq=False)
class FamilyCheck:
    """Distance to a zoo as a p-value.

    Attributes
    ----------
    centre, scale : ndarray of shape (n_features,)
    references : ndarray of shape (n_references, n_features), float32
        Scaled features of networks of the zoo.
    distances : ndarray of shape (n_calibration,)
        Sorted distances of the zoo's own networks.
    """

    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    references: NDArray[np.float32]
    distances: NDArray[np.float32]

    def __post_init__(self) -> None:
        n_features = len(self.centre)
        if not (
            self.scale.shape == self.centre.shape == (n_features,)
            and self.references.ndim == 2
            and self.references.shape[1] == n_features
            and len(self.references) >= _NEIGHBOURS
            and self.distances.ndim == 1
            and bool((self.scale > 0).all())
        ):
            raise ValueError(
                "Expected arrays that describe a family of networks. Received: shapes that do not "
                "fit together."
            )

    @classmethod
    def fit(cls, X: NDArray[np.float32], runs: ArrayLike, random_state: int) -> FamilyCheck:
        """Learn the family.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
            Finite features.
        runs : array-like of shape (n_rows,)
            A network is not compared with others of its run, which are near it for no merit.
        random_state : int
        """
        runs = np.asarray(runs)
        centre = X.mean(axis=0)
        spread = X.std(axis=0)
        # A number that never varied in the zoo, say that of layers, is unlike if it differs at all.
        scale = np.maximum(spread, 0.02 * (1 + np.abs(centre)))
        z = np.clip((X - centre) / scale, -_LARGEST_STEP, _LARGEST_STEP)
        generator = np.random.default_rng(random_state)
        shuffled = generator.permutation(len(z))
        chosen, asked = shuffled[:_REFERENCES], shuffled[: 4 * _REFERENCES]
        # Rounded as in half precision, which halves the predictor's file and moves no distance.
        references = z[chosen].astype(np.float16).astype(np.float32)
        far = _distances(z[asked], references, runs[asked][:, None] == runs[chosen])
        return cls(centre, scale, references, np.sort(far))

    def p_values(self, X: ArrayLike) -> NDArray[np.float64]:
        """Share of the zoo's networks that are at least as unlike the rest of it.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,)
            In (0, 1]; small means unlike.
        """
        z = (np.asarray(X, np.float32) - self.centre) / self.scale
        far = _distances(np.clip(z, -_LARGEST_STEP, _LARGEST_STEP), self.references)
        n = len(self.distances)
        farther = n - np.searchsorted(self.distances, far)
        return np.asarray((farther + 1) / (n + 1), np.float64)


def _distances(
    z: NDArray[np.float32],
    references: NDArray[np.float32],
    excluded: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Mean distance to the nearest references, by rows; excluded pairs do not count."""
    squares = (z**2).sum(axis=1)[:, None] + (references**2).sum(axis=1) - 2 * (z @ references.T)
    far = np.sqrt(np.maximum(squares / z.shape[1], 0))
    if excluded is not None:
        far = np.where(excluded, np.inf, far)
    nearest = np.partition(far, _NEIGHBOURS - 1, axis=1)[:, :_NEIGHBOURS]
    return nearest.mean(axis=1).astype(np.float32)
