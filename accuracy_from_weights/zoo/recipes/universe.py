"""Recipes for the universe of tasks: what people train, on tasks that are all different."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.architecture import InputForm
from accuracy_from_weights.zoo.recipes.costs import seconds_of_example, seconds_of_step
from accuracy_from_weights.zoo.recipes.data_facts import DataFacts
from accuracy_from_weights.zoo.recipes.distributions import RecipeDistribution, log_uniform
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe, Task
from accuracy_from_weights.zoo.recipes.universe_architecture import draw_architecture, draw_idiom
from accuracy_from_weights.zoo.recipes.wild import draw_initialiser, draw_rate

FactsOf = Callable[..., DataFacts]
"""Returns what is known of a task, given its seed and, optionally, its kind."""

KIND_SHARES = {"image": 0.55, "table": 0.2, "tokens": 0.15, "signal": 0.1}
"""How often each kind of input is drawn."""

# Examples that are evaluated for each that is tested on: five checkpoints, and training examples.
_EVALUATIONS = 9
# Multiplications that one example takes at most, from the narrowest to the widest networks.
_CHEAPEST, _COSTLIEST = 2e5, 3e6
_MANY_FOR_OVERFITTING = 600
_FEWEST_STEPS = 200
_SPACING = (0.0, 0.04, 0.15, 0.45, 1.0)
# Learning rates at which networks learn within as many steps.
_RATES = {
    "sgd": (4e-2, 4e-1),
    "momentum": (7e-3, 7e-2),
    "adam": (8e-4, 1e-2),
    "rmsprop": (5e-4, 5e-3),
}
_OPTIMISERS = {"adam": 0.55, "momentum": 0.2, "sgd": 0.12, "rmsprop": 0.13}


def dataset_name(seed: int) -> str:
    """Return the name of a task of the universe."""
    return f"universe-{seed}"


@dataclass(frozen=True)
class UniverseRecipe(RecipeDistribution):
    """A distribution over tasks of the universe, architectures and ways of training.

    Every ``per_task`` networks a new task is drawn. Architectures are those that users of PyTorch
    and Keras put together, the paper's and those of `WildRecipe`; regimes are those of
    `WildRecipe`.

    Attributes
    ----------
    per_task : int, default 4
        Networks that are trained on each task.
    per_architecture : int, default 1
        Networks that share an architecture, a batch size and the number of steps, so that they can
        be trained at once. ``zoo build --at-once`` sets it.
    least_aim : float, default 0.0
        Tasks that aim at a lower accuracy above chance are passed over; below 1.
    share_overfitted, share_undertrained, share_untrained, share_unstable : float
        Probabilities of the regimes; the rest is good.
    n_train : int, default 4_000
        The most examples that a network is trained on.
    n_test : int, default 1_000
        The most examples that it is tested on.
    max_steps : int, default 1_000
        The most training steps.
    budget : float, default 1.2
        The most seconds of one core, as `costs` estimates them, that a network may take; longer
        runs are cut, though not below 200 steps.
    """

    family: ClassVar[str] = "universe"

    per_task: int = 4
    per_architecture: int = 1
    least_aim: float = 0.0
    share_overfitted: float = 0.34
    share_undertrained: float = 0.07
    share_untrained: float = 0.04
    share_unstable: float = 0.06
    n_train: int = 4_000
    n_test: int = 1_000
    max_steps: int = 1_000
    budget: float = 1.2

    def __post_init__(self) -> None:
        shares = (
            self.share_overfitted,
            self.share_undertrained,
            self.share_untrained,
            self.share_unstable,
        )
        if min(shares) < 0 or sum(shares) > 1:
            raise ZooError(f"The shares {shares} are no probabilities that sum to at most 1.")
        if not 0 <= self.least_aim < 1:
            raise ZooError(
                f"A universe recipe cannot have least_aim = {self.least_aim}; it is an accuracy "
                "above chance, at least 0 and below 1."
            )
        numbers = self.per_task, self.per_architecture, self.n_train, self.n_test, self.max_steps
        if min(numbers) < 1 or not self.budget > 0:
            raise ZooError(
                f"A universe recipe cannot have per_task, per_architecture, n_train, n_test and "
                f"max_steps of {numbers} and a budget of {self.budget}; all have to be positive."
            )

    def draw(self, index: int, seed: int, facts: FactsOf) -> NetworkRecipe:
        """Draw recipe number ``index`` for the universe of tasks."""
        shared = self.generator(index // self.per_architecture, seed, "architecture")
        own = self.generator(index, seed, "network")
        known, first = self._tasks(index, seed, facts, shared)
        form = known.form
        if form.kind != "table":
            # Networks of one stack take inputs of one size.
            form = InputForm(form.kind, first.form.shape, form.vocabulary)
        idiom = draw_idiom(shared)
        costliest = log_uniform(shared, _CHEAPEST, _COSTLIEST)
        architecture = draw_architecture(shared, first.form, idiom, costliest)
        short = shared.random() < self.share_undertrained + self.share_untrained
        batch = int(shared.choice((16, 32, 64), p=(0.15, 0.5, 0.35)))
        of_first = architecture, first.form, first.n_classes
        left = self.budget - _EVALUATIONS * self.n_test * seconds_of_example(*of_first)
        affordable = int(left / seconds_of_step(*of_first, batch))
        steps = self._draw_steps(shared, short, affordable)
        regime = self._draw_regime(own, short, steps)
        n_train, noise = self._draw_examples(own, regime, known, batch)
        an_epoch = n_train // batch
        kept = sorted({round(steps * place) for place in _SPACING})
        optimizer = str(own.choice(list(_OPTIMISERS), p=list(_OPTIMISERS.values())))
        initialiser, init_std = f"{idiom}_default", 0.05
        if idiom == "mixed" or (regime == "unstable" and own.random() < 0.3):
            initialiser, init_std = draw_initialiser(own, regime)
        regularised = regime == "good" or own.random() < 0.3
        return NetworkRecipe(
            family=self.family,
            index=index,
            seed=int(own.integers(2**31)),
            order_seed=int(own.integers(2**31)),
            task=Task(
                dataset=known.name,
                form=form,
                n_classes=known.n_classes,
                n_train=n_train,
                n_test=min(self.n_test, known.n_test),
                data_seed=int(own.integers(2**31)),
                label_noise=noise,
                universe_seed=known.universe_seed,
                universe_version=known.universe_version,
            ),
            architecture=architecture,
            optimizer=optimizer,
            learning_rate=draw_rate(own, regime, *_RATES[optimizer]),
            epochs=steps / an_epoch,
            checkpoints=tuple(step / an_epoch for step in kept),
            batch_size=batch,
            dropout=float(own.uniform(0.05, 0.5)) if regularised and own.random() < 0.4 else 0.0,
            l2=log_uniform(own, 1e-6, 1e-3) if regularised and own.random() < 0.25 else 0.0,
            weight_decay=log_uniform(own, 1e-4, 1e-1) if own.random() < 0.35 else 0.0,
            initialiser=initialiser,
            init_std=init_std,
            schedule=str(own.choice(("constant", "cosine", "steps"), p=(0.55, 0.33, 0.12))),
            regime=regime,
        )

    def _tasks(
        self, index: int, seed: int, facts: FactsOf, shared: np.random.Generator
    ) -> tuple[DataFacts, DataFacts]:
        """Return the facts of the network's task, and of the first one of its architecture."""

        def of_network(network: int, kind: str | None) -> DataFacts:
            rng = self.generator(network // self.per_task, seed, "task")
            return facts(int(rng.integers(2**31)), kind, self.least_aim)

        if self.per_architecture <= 1:
            known = of_network(index, None)
            return known, known
        kind = str(shared.choice(list(KIND_SHARES), p=list(KIND_SHARES.values())))
        first = of_network(index // self.per_architecture * self.per_architecture, kind)
        return of_network(index, kind), first

    def _draw_steps(self, rng: np.random.Generator, short: bool, affordable: int) -> int:
        """Draw the number of training steps."""
        if short:
            few = self.share_untrained / (self.share_undertrained + self.share_untrained)
            if rng.random() < few:
                return int(rng.integers(1, 9))
            return max(6, round(log_uniform(rng, 10, max(11.0, 0.3 * self.max_steps))))
        most = min(max(affordable, _FEWEST_STEPS), self.max_steps)
        return round(log_uniform(rng, max(6.0, 0.6 * most), most))

    def _draw_regime(self, rng: np.random.Generator, short: bool, steps: int) -> str:
        """Draw the regime: among the short ones or the others."""
        if short:
            return "untrained" if steps < 9 else "undertrained"
        long = 1.0 - self.share_undertrained - self.share_untrained
        draw = rng.random() * long
        if draw < self.share_overfitted:
            return "overfitted"
        return "unstable" if draw < self.share_overfitted + self.share_unstable else "good"

    def _draw_examples(
        self, rng: np.random.Generator, regime: str, facts: DataFacts, batch: int
    ) -> tuple[int, float]:
        """Draw how many training examples there are, and which fraction of wrong labels."""
        most = max(min(self.n_train, facts.n_train), batch)
        if regime == "overfitted":
            noise = float(rng.uniform(0.15, 0.6)) if rng.random() < 0.4 else 0.0
            few = max(2, min((5 if noise == 0.0 else 10) * facts.n_classes, most // 2))
            n = log_uniform(rng, few, max(few, min(6 * few, most, _MANY_FOR_OVERFITTING)))
        else:
            noise = float(rng.uniform(0.0, 0.3)) if rng.random() < 0.1 else 0.0
            n = log_uniform(rng, min(1_000, most), most)
        return max(batch, min(round(n), most)), noise
