"""Keras' optimisers on many networks at once, each with its own learning rate.

PyTorch's own differ in small ways (where epsilon stands, RMSprop's rho) and know one learning rate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe

_EPSILON = 1e-7
_MOMENTUM = 0.9
_BETA_1, _BETA_2 = 0.9, 0.999
_RHO = 0.9


class StackedOptimiser:
    """Steps of SGD, momentum, Adam and RMSprop for networks whose weights are rows of a matrix.

    The weights, (n_networks, n_parameters), are changed in place. There is a recipe for each row;
    rows of one optimiser stand together. L2 and weight decay apply where ``is_kernel``,
    (n_parameters,), holds. ``n_steps`` are the whole training's, for the learning rates' schedules.
    """

    def __init__(
        self, recipes: Sequence[NetworkRecipe], weights: Tensor, is_kernel: Tensor, n_steps: int
    ) -> None:
        self._weights = weights
        # Counted on the device, so that a recorded step counts too.
        self._at = torch.zeros(1, dtype=torch.int64, device=weights.device)
        names = [recipe.optimizer for recipe in recipes]
        self._rows = {
            name: slice(names.index(name), len(names) - names[::-1].index(name))
            for name in sorted(set(names))
        }
        self._first = torch.zeros_like(weights)
        self._second = torch.zeros_like(weights)
        self._scratch = torch.empty_like(weights)
        l2 = torch.tensor([[2.0 * r.l2] for r in recipes], device=weights.device)
        decay = torch.tensor([[r.weight_decay] for r in recipes], device=weights.device)
        self._l2 = (l2 * is_kernel).to(weights.dtype) if any(r.l2 for r in recipes) else None
        self._decay = (
            (decay * is_kernel).to(weights.dtype) if any(r.weight_decay for r in recipes) else None
        )
        rates = np.stack([recipe.learning_rates(max(n_steps, 1)) for recipe in recipes], axis=1)
        self._rates = torch.from_numpy(rates).to(weights)[:, :, None]
        n = np.arange(1, len(rates) + 1)
        corrections = np.sqrt(1.0 - _BETA_2**n) / (1.0 - _BETA_1**n)
        self._corrections = torch.from_numpy(corrections).to(weights)

    def step(self, gradients: Tensor) -> None:
        """Take one step; ``gradients`` of shape (n_networks, n_parameters) are overwritten."""
        rates = self._rates[self._at][0]
        if self._l2 is not None:
            gradients.addcmul_(self._weights, self._l2)
        if self._decay is not None:
            self._weights.addcmul_(self._weights, self._decay * rates, value=-1.0)
        for name, rows in self._rows.items():
            update = getattr(self, f"_{name}")
            update(rows, self._weights[rows], gradients[rows], rates[rows])
        self._at += 1

    def _sgd(self, rows: slice, weights: Tensor, gradients: Tensor, rates: Tensor) -> None:
        weights.addcmul_(gradients, rates, value=-1.0)

    def _momentum(self, rows: slice, weights: Tensor, gradients: Tensor, rates: Tensor) -> None:
        velocity = self._first[rows]
        velocity.mul_(_MOMENTUM).addcmul_(gradients, rates, value=-1.0)
        weights.add_(velocity)

    def _adam(self, rows: slice, weights: Tensor, gradients: Tensor, rates: Tensor) -> None:
        first, second, scratch = self._first[rows], self._second[rows], self._scratch[rows]
        first.lerp_(gradients, 1.0 - _BETA_1)
        second.mul_(_BETA_2).addcmul_(gradients, gradients, value=1.0 - _BETA_2)
        torch.sqrt(second, out=scratch).add_(_EPSILON)
        torch.mul(first, rates, out=gradients).mul_(self._corrections[self._at])
        weights.addcdiv_(gradients, scratch, value=-1.0)

    def _rmsprop(self, rows: slice, weights: Tensor, gradients: Tensor, rates: Tensor) -> None:
        second, scratch = self._second[rows], self._scratch[rows]
        second.mul_(_RHO).addcmul_(gradients, gradients, value=1.0 - _RHO)
        torch.add(second, _EPSILON, out=scratch).sqrt_()
        weights.addcdiv_(gradients.mul_(rates), scratch, value=-1.0)
