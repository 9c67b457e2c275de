"""Keeper of one network's checkpoints, which notices when the network has diverged."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo.trained_network import Checkpoint, Scores, TrainedNetwork

TRAIN_EVALUATED = 1_000
"""The most training examples that a checkpoint's training accuracy is measured on."""


class CheckpointKeeper:
    """The checkpoints of one network so far."""

    def __init__(self, recipe: NetworkRecipe) -> None:
        self._recipe = recipe
        self._checkpoints: list[Checkpoint] = []
        self.diverged = False

    def keep(self, weights: Mapping[str, NDArray[np.float32]], scores: Scores) -> None:
        """Keep the next checkpoint; a weight or a loss that is not finite is a divergence."""
        losses_are_finite = math.isfinite(scores.test_loss) and math.isfinite(scores.train_loss)
        if not losses_are_finite or not all(np.isfinite(w).all() for w in weights.values()):
            self.diverged = True
        step = self._recipe.checkpoints[len(self._checkpoints)]
        if self.diverged:
            weights = {name: np.full_like(w, np.nan) for name, w in weights.items()}
            scores = Scores(*[math.nan] * 6)
        self._checkpoints.append(Checkpoint(step=float(step), weights=weights, **vars(scores)))

    def trained(self, weights: Mapping[str, NDArray[np.float32]], seconds: float) -> TrainedNetwork:
        """Close the network; checkpoints never reached are those of a diverged one."""
        while len(self._checkpoints) < len(self._recipe.checkpoints):
            self.keep(weights, Scores(*[math.nan] * 6))
        return TrainedNetwork(self._recipe, tuple(self._checkpoints), self.diverged, seconds)
