"""Recipes of all kinds of networks: what people train, well and badly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.architecture import InputForm
from accuracy_from_weights.zoo.recipes.costs import multiplications, n_kernels
from accuracy_from_weights.zoo.recipes.data_facts import DataFacts
from accuracy_from_weights.zoo.recipes.distributions import RecipeDistribution, log_uniform
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe, Task
from accuracy_from_weights.zoo.recipes.wild_architecture import draw_architecture

REGIMES = ("good", "overfitted", "undertrained", "untrained", "unstable")

# Learning rates at which networks of this size usually learn.
_USUAL_RATES = {
    "sgd": (2e-2, 3e-1),
    "momentum": (3e-3, 5e-2),
    "adam": (5e-4, 1e-2),
    "rmsprop": (3e-4, 5e-3),
}
# What the calls for one layer cost in a step, in multiplications.
_OVERHEAD = 2e7
_SPACING = (0.0, 0.03, 0.1, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class WildRecipe(RecipeDistribution):
    """A distribution over architectures, tasks and ways of training, good and bad.

    Depth 1 to 8, widths 8 to 128; dense, convolutional, residual, depthwise-separable networks and
    small vision transformers; every normalisation, activation, padding and pooling that
    `Architecture` knows; 2 to 20 classes; one or three channels. How a network is trained depends
    on its regime:

    ``good``
        Enough images, a usual learning rate, some regularisation.
    ``overfitted``
        Few images or wrong labels, trained long.
    ``undertrained``
        A learning rate far too low, or stopped after a few steps.
    ``untrained``
        A handful of steps.
    ``unstable``
        A learning rate far too high, or initial weights far too large or small: some diverge.

    Attributes
    ----------
    share_overfitted, share_undertrained, share_untrained, share_unstable : float
        Probabilities of the regimes; the rest is good.
    n_test : int, default 1_500
    n_train : int, default 4_000
        The most images that a network is trained on.
    sizes : tuple of int, default (8, 10, 12, 14, 16)
        Pixels of the images' sides, at most those that the data set has.
    max_steps : int, default 600
        The most training steps.
    budget : float, default 4e10
        The most multiplications that training one network may take, each layer's overhead counted
        as 2e7 a step; longer runs are cut. The default is some two seconds of one core.
    """

    family: ClassVar[str] = "wild"

    share_overfitted: float = 0.46
    share_undertrained: float = 0.08
    share_untrained: float = 0.04
    share_unstable: float = 0.08
    n_test: int = 1_500
    n_train: int = 4_000
    sizes: tuple[int, ...] = (8, 10, 12, 14, 16)
    max_steps: int = 600
    budget: float = 4e10

    def __post_init__(self) -> None:
        if not all(0 <= share <= 1 for share in self.shares.values()):
            raise ZooError(
                f"The shares {self.shares} do not lie between 0 and 1 with a sum of at most 1."
            )
        if min(self.n_test, self.n_train, self.max_steps) < 1 or not self.budget > 0:
            raise ZooError(
                "A wild recipe needs n_test, n_train and max_steps of at least 1 and a budget "
                "above 0, and "
                f"it has {self.n_test}, {self.n_train}, {self.max_steps}, {self.budget}."
            )
        if not self.sizes or min(self.sizes) < 8:
            raise ZooError(f"The sizes {self.sizes} are not all at least 8 pixels.")

    @property
    def shares(self) -> dict[str, float]:
        """Probability of each regime."""
        others = {
            "overfitted": self.share_overfitted,
            "undertrained": self.share_undertrained,
            "untrained": self.share_untrained,
            "unstable": self.share_unstable,
        }
        return {"good": round(1.0 - sum(others.values()), 12), **others}

    def draw(self, index: int, seed: int, facts: DataFacts) -> NetworkRecipe:
        """Draw recipe number ``index`` for a data set."""
        rng = self.generator(index, seed, facts.name)
        regime = str(rng.choice(REGIMES, p=[self.shares[name] for name in REGIMES]))
        sizes = [size for size in self.sizes if size <= facts.form.size] or [facts.form.size]
        size = int(rng.choice(sizes))
        channels = int(rng.choice((1, 3)))
        transform, label_map = _draw_classes(rng, facts.n_classes)
        n_classes = max(label_map) + 1
        form = InputForm("image", (channels, size, size))
        architecture = draw_architecture(rng, size)
        cost = multiplications(architecture, form, n_classes)
        n_train, noise, steps = self._draw_amounts(rng, regime, n_classes, facts)
        batch = int(min(rng.choice((16, 32, 64)), n_train))
        # A backward pass costs twice the forward one.
        a_step = 3.0 * cost * batch + _OVERHEAD * n_kernels(architecture)
        steps = int(np.clip(self.budget / a_step, min(steps, 20), steps))
        steps_an_epoch = max(1, n_train // batch)
        epochs = steps / steps_an_epoch
        optimizer = str(rng.choice(tuple(_USUAL_RATES)))
        initialiser, init_std = draw_initialiser(rng, regime)
        regularised = regime == "good" or rng.random() < 0.3
        return NetworkRecipe(
            family=self.family,
            index=index,
            seed=int(rng.integers(2**31)),
            order_seed=int(rng.integers(2**31)),
            task=Task(
                dataset=facts.name,
                form=form,
                n_classes=n_classes,
                n_train=n_train,
                n_test=min(self.n_test, facts.n_test),
                data_seed=int(rng.integers(2**31)),
                pool=min(2 * self.n_train, facts.n_train),
                label_map=label_map,
                transform=transform,
                label_noise=noise,
            ),
            architecture=architecture,
            optimizer=optimizer,
            learning_rate=draw_rate(rng, regime, *_USUAL_RATES[optimizer]),
            epochs=epochs,
            checkpoints=tuple(sorted({epochs * place for place in _SPACING})),
            batch_size=batch,
            dropout=float(rng.uniform(0.0, 0.4)) if regularised and rng.random() < 0.5 else 0.0,
            l2=log_uniform(rng, 1e-6, 1e-3) if regularised and rng.random() < 0.5 else 0.0,
            weight_decay=log_uniform(rng, 1e-4, 1e-1) if rng.random() < 0.3 else 0.0,
            initialiser=initialiser,
            init_std=init_std,
            schedule=str(rng.choice(("constant", "cosine", "steps"), p=(0.5, 0.35, 0.15))),
            regime=regime,
        )

    def _draw_amounts(
        self, rng: np.random.Generator, regime: str, n_classes: int, facts: DataFacts
    ) -> tuple[int, float, int]:
        """Draw how many training images, which fraction of wrong labels, how many steps."""
        most = min(self.n_train, facts.n_train)
        if regime == "overfitted":
            noise = float(rng.uniform(0.15, 0.6)) if rng.random() < 0.4 else 0.0
            few = 6 * n_classes if noise == 0.0 else 15 * n_classes
            n_train = log_uniform(rng, min(few, most), min(5 * few, most))
            steps = log_uniform(rng, 0.4 * self.max_steps, self.max_steps)
        else:
            noise = float(rng.uniform(0.0, 0.3)) if rng.random() < 0.15 else 0.0
            n_train = log_uniform(rng, min(800, most), most)
            steps = log_uniform(rng, 0.2 * self.max_steps, self.max_steps)
            if regime == "untrained":
                steps = rng.uniform(1, 8)
            elif regime == "undertrained":
                steps = log_uniform(rng, 10, max(10.0, 0.3 * self.max_steps))
        return round(n_train), noise, max(6, round(steps))


def _draw_classes(rng: np.random.Generator, n_old: int) -> tuple[str, tuple[int, ...]]:
    """Draw 2 to 20 classes: some of the old ones, groups of them, or twice as many by a change.

    The transform and the label map are those of a `Task`.
    """
    transform = str(rng.choice(("none", "rotate", "invert"), p=(0.65, 0.2, 0.15)))
    n_available = n_old * (1 if transform == "none" else 2)
    n_new = int(rng.integers(2, min(20, n_available) + 1))
    if rng.random() < 0.2:
        # Each new class is a group of old ones: the first n_new old ones see that none is empty.
        groups = np.concatenate([np.arange(n_new), rng.integers(n_new, size=n_available - n_new)])
        return transform, tuple(int(g) for g in rng.permutation(groups))
    new = np.full(n_available, -1)
    new[rng.permutation(n_available)[:n_new]] = np.arange(n_new)
    return transform, tuple(int(c) for c in new)


def draw_rate(rng: np.random.Generator, regime: str, low: float, high: float) -> float:
    """Draw a learning rate that suits the regime, given those at which networks usually learn."""
    rate = log_uniform(rng, low, high)
    if regime == "undertrained":
        return rate * log_uniform(rng, 0.01, 0.3)
    if regime == "unstable":
        return rate * log_uniform(rng, 10.0, 1000.0)
    return rate


def draw_initialiser(rng: np.random.Generator, regime: str) -> tuple[str, float]:
    """Draw an initialiser and the standard deviation that two of them take."""
    if regime == "unstable" and rng.random() < 0.3:
        return "RandomNormal", float(
            rng.choice((log_uniform(rng, 1e-3, 1e-2), rng.uniform(0.5, 2)))
        )
    if rng.random() < 0.15:
        return str(rng.choice(("RandomNormal", "TruncatedNormal"))), log_uniform(rng, 0.03, 0.3)
    usual = ("glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "orthogonal")
    return str(rng.choice(usual)), 0.05
