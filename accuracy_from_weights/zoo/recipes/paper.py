"""The recipes of the Small CNN Zoo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.architecture import InputForm, paper_architecture
from accuracy_from_weights.zoo.recipes.data_facts import DataFacts
from accuracy_from_weights.zoo.recipes.distributions import RecipeDistribution, log_uniform
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe, Task

_INITIALISERS = ("glorot_normal", "he_normal", "orthogonal", "RandomNormal", "TruncatedNormal")

# Three valid convolutions of stride 2 leave nothing of an image below 15 pixels; 16 doubles the
# 8 pixels of scikit-learn's digits.
_SMALLEST = 16


@dataclass(frozen=True)
class PaperRecipe(RecipeDistribution):
    """The distribution that the 120,000 networks of the Small CNN Zoo were drawn from.

    Every hyperparameter is drawn as there; how long and on how many images to train are
    parameters, since the original's 86 epochs of 60,000 images are out of reach of one machine.

    Source: Unterthiner et al., Predicting Neural Network Accuracy from Weights, arXiv 2002.11448,
    section 3 and appendix, and the published ``train_network.py``.

    Attributes
    ----------
    epochs : int, default 18
        86 in the original.
    checkpoints : tuple of int, default (0, 1, 2, 3, 6, 10, 14, 18)
        Epochs; (0, 1, 2, 3, 20, 40, 60, 80, 86) in the original.
    batch_size : int, default 128
        512 in the original. Lowered in proportion, though not below 8, on data sets of fewer than
        ``n_train`` images, so that an epoch has as many steps on all of them.
    n_train : int, default 10_000
        Images that the fraction 1 stands for, or all where there are fewer; all of them in the
        original. They are the same ones for all networks, the fractions are picked from them.
    n_test : int, default 5_000
        Test images; all 10,000 in the original.
    per_task : int, default 4
        In the universe of tasks, networks that are trained on each task of images.
    """

    family: ClassVar[str] = "paper"

    epochs: int = 18
    checkpoints: tuple[int, ...] = (0, 1, 2, 3, 6, 10, 14, 18)
    batch_size: int = 128
    n_train: int = 10_000
    n_test: int = 5_000
    per_task: int = 4

    def __post_init__(self) -> None:
        numbers = self.epochs, self.batch_size, self.n_train, self.n_test, self.per_task
        if min(numbers) < 1:
            raise ZooError(
                "A paper recipe needs epochs, batch_size, n_train, n_test and per_task of at least "
                f"1, and it has {numbers}."
            )
        if not self.checkpoints or max(self.checkpoints) > self.epochs:
            raise ZooError(
                f"The checkpoints {self.checkpoints} are not within {self.epochs} epochs."
            )

    def draw(
        self, index: int, seed: int, facts: DataFacts | Callable[..., DataFacts]
    ) -> NetworkRecipe:
        """Draw recipe number ``index`` for a data set, or for the universe of tasks."""
        if callable(facts):
            of_task = self.generator(index // self.per_task, seed, "task")
            facts = facts(int(of_task.integers(2**31)), "image")
        rng = self.generator(index, seed, facts.name)
        fraction = float(rng.choice((0.1, 0.25, 0.5, 1.0)))
        pool = min(self.n_train, facts.n_train)
        size = _SMALLEST if facts.form.size < 15 else facts.form.size
        task = Task(
            dataset=facts.name,
            form=InputForm("image", (1, size, size)),
            n_classes=facts.n_classes,
            n_train=max(1, round(fraction * pool)),
            n_test=min(self.n_test, facts.n_test),
            data_seed=int(rng.integers(2**31)),
            pool=pool,
            train_fraction=fraction,
            universe_seed=facts.universe_seed,
            universe_version=facts.universe_version,
        )
        return NetworkRecipe(
            family=self.family,
            index=index,
            seed=int(rng.integers(2**31)),
            order_seed=int(rng.integers(2**31)),
            task=task,
            architecture=paper_architecture(str(rng.choice(("relu", "tanh")))),
            optimizer=str(rng.choice(("sgd", "adam", "rmsprop"))),
            learning_rate=log_uniform(rng, 5e-4, 5e-2),
            epochs=self.epochs,
            checkpoints=self.checkpoints,
            batch_size=max(min(8, self.batch_size), round(self.batch_size * pool / self.n_train)),
            dropout=float(rng.uniform(0.0, 0.7)),
            l2=log_uniform(rng, 1e-8, 1e-2),
            initialiser=str(rng.choice(_INITIALISERS)),
            init_std=log_uniform(rng, 1e-3, 0.5),
        )
