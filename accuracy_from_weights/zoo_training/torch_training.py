"""What all training runs with PyTorch share: their course, and dropout's random numbers."""

from __future__ import annotations

import abc
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo.trained_network import Scores, TrainedNetwork
from accuracy_from_weights.zoo_training import torch_philox
from accuracy_from_weights.zoo_training.checkpoint_keeper import CheckpointKeeper
from accuracy_from_weights.zoo_training.randomness import dropout_bytes, dropout_key, order_key
from accuracy_from_weights.zoo_training.torch_optimisers import StackedOptimiser
from accuracy_from_weights.zoo_training.torch_replay import Replayed

Measured = list[tuple[float, float]]
"""Accuracy, and mean cross-entropy in nats, of each network."""


class TorchTraining(abc.ABC):
    """One training run of ``k`` networks that share architecture, batch size and steps.

    Parameters
    ----------
    recipes : sequence of NetworkRecipe
        Of one `torch_backend.group_key`; those of one optimiser stand next to each other.
    networks : ConvStack or TorchNetworks
        With their initial weights.
    n_train : int
        Training examples of the first one.
    n_dropped : int
        Values of one example that dropout works on.
    device : torch.device
    """

    def __init__(
        self,
        recipes: Sequence[NetworkRecipe],
        networks: Any,
        n_train: int,
        n_dropped: int,
        device: torch.device,
    ) -> None:
        self._recipes = recipes
        self._states = networks.states
        self._device = device
        self._batch = recipes[0].batch_of(n_train)
        self._steps_at = recipes[0].checkpoint_steps(n_train)
        self._optimiser = StackedOptimiser(
            recipes, networks.weights, networks.is_kernel, self._steps_at[-1]
        )
        self._order_keys = [order_key(recipe.order_seed) for recipe in recipes]
        self._dropout_keys = [dropout_key(recipe.seed) for recipe in recipes]
        self._device_dropout_keys = self._on_device(self._dropout_keys)
        thresholds = [[recipe.dropout_threshold] for recipe in recipes]
        self._thresholds = torch.tensor(thresholds, dtype=torch.uint8, device=device)
        self._n_dropped = self._batch * n_dropped if any(map(any, thresholds)) else 0
        n_kept = torch_philox.padded_bytes(self._n_dropped)
        self._kept = torch.ones((len(recipes), n_kept), dtype=torch.uint8, device=device)
        # Counted on the device, so that a recorded step counts too.
        self._at = torch.zeros(1, dtype=torch.int64, device=device)
        self._repeat = Replayed(self._train_step, device)

    def _on_device(self, keys: Sequence[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(keys).view(np.int64)).to(self._device)

    def run(self) -> list[TrainedNetwork]:
        """Train to the last checkpoint."""
        start = time.perf_counter()
        keepers = [CheckpointKeeper(recipe) for recipe in self._recipes]
        done = 0
        for target in self._steps_at:
            if done < target:
                self._train_steps(keepers, done, target)
            done = target
            log = self._log(done) if done else [(np.nan, np.nan)] * len(keepers)
            of_each = zip(keepers, self._states(), *self._evaluated(), log, strict=True)
            for keeper, state, test, train, logged in of_each:
                keeper.keep(state, Scores(*test, *train, *logged))
        seconds = (time.perf_counter() - start) / len(keepers)
        closing = zip(keepers, self._states(), strict=True)
        return [keeper.trained(state, seconds) for keeper, state in closing]

    @abc.abstractmethod
    def _train_steps(self, keepers: Sequence[CheckpointKeeper], start: int, stop: int) -> None:
        """Train from one step up to another; those that diverge may be left out."""

    @abc.abstractmethod
    def _train_step(self) -> None:
        """Take one step, which a GPU may record."""

    @abc.abstractmethod
    def _log(self, done: int) -> Measured:
        """Measure the epoch that ends at a step, or its part so far, as training saw it."""

    @abc.abstractmethod
    def _evaluated(self) -> tuple[Measured, Measured]:
        """Measure on test examples, and on training examples."""

    def _draw_dropout(self) -> None:
        """Draw which values dropout keeps in this step: 1 for those that it keeps, else 0."""
        if self._device.type != "cpu":
            torch_philox.draw_kept(
                self._device_dropout_keys, self._thresholds, self._at, self._kept
            )
            return
        for recipe, key, kept in zip(self._recipes, self._dropout_keys, self._kept, strict=True):
            threshold = recipe.dropout_threshold
            if threshold:
                drawn = torch.from_numpy(dropout_bytes(key, int(self._at), len(kept)))
                # 0 below the threshold and 1 from it on; comparing would be ten times slower.
                torch.sub(drawn.clamp_(threshold - 1, threshold), threshold - 1, out=kept)
