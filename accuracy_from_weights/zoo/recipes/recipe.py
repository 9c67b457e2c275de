"""Recipe of one network: everything needed to train it again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.architecture import Architecture, InputForm
from accuracy_from_weights.zoo.recipes.data_facts import DataFacts

INITIALISERS = (
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "orthogonal",
    "RandomNormal",
    "TruncatedNormal",
    "keras_default",
    "torch_default",
)
OPTIMISERS = ("sgd", "momentum", "adam", "rmsprop")
SCHEDULES = ("constant", "cosine", "steps")
TRANSFORMS = ("none", "rotate", "invert")


@dataclass(frozen=True)
class Task:
    """Which examples a network learns, and what it is to tell apart.

    Attributes
    ----------
    dataset : str
        Name of the data set; ``"universe-SEED"`` for a task of the universe.
    form : InputForm
        What the network takes. Images and signals of another size are resized by area averaging,
        token sequences cut or filled up with 0 at their end. Of several channels one is made by
        averaging, and of one several: each example is tinted in a colour of its own that says
        nothing of its class.
    n_classes : int
    n_train, n_test : int
        Examples trained on and tested on (fewer where the classes kept have fewer).
    data_seed : int
        Picks which training examples; the test examples are the same ones for all networks.
    pool : int or None, default None
        How many examples of the training set, picked once for all networks, the ``n_train`` are
        picked from; None means all of them.
    train_fraction : float, default 1.0
        ``n_train`` over ``pool``; for the record.
    label_map : tuple of int or None, default None
        New class of each old one, -1 to leave its images out; None keeps all classes. With a
        transform there are twice as many old classes: first those of the plain images.
    transform : {"none", "rotate", "invert"}, default "none"
        ``"rotate"`` and ``"invert"`` turn every second image by 90 degrees or swap black and
        white, and make classes of these images of their own.
    label_noise : float, default 0.0
        Fraction in [0, 1] of the training labels that are drawn anew from all classes.
    universe_seed, universe_version : int or None, default None
        The seed that the task is made from, and the version of the universe in which it means this
        task.
    """

    dataset: str
    form: InputForm
    n_classes: int
    n_train: int
    n_test: int
    data_seed: int
    pool: int | None = None
    train_fraction: float = 1.0
    label_map: tuple[int, ...] | None = None
    transform: str = "none"
    label_noise: float = 0.0
    universe_seed: int | None = None
    universe_version: int | None = None

    def __post_init__(self) -> None:
        if self.transform not in TRANSFORMS:
            raise ZooError(
                f"Images cannot be transformed by {self.transform!r}; use one of {TRANSFORMS}."
            )
        if self.n_train < 1 or self.n_test < 1 or not 0 <= self.label_noise <= 1:
            raise ZooError(
                f"A task cannot have n_train={self.n_train}, n_test={self.n_test} and "
                f"label_noise={self.label_noise}; the numbers have to be at least 1, and the noise "
                f"from 0 to 1."
            )


@dataclass(frozen=True)
class NetworkRecipe:
    """Everything needed to train one network again.

    Attributes
    ----------
    family : str
        Name of the distribution that the recipe was drawn from: ``"paper"``, ``"wild"``,
        ``"universe"``.
    index : int
        Its place among the draws.
    seed : int
        Decides the initial weights and dropout.
    order_seed : int
        Decides the order of the images. Networks that share it share their mini-batches.
    task : Task
    architecture : Architecture
    optimizer : {"sgd", "momentum", "adam", "rmsprop"}
        With Keras' defaults: momentum 0.9, Adam's betas 0.9 and 0.999, RMSprop's rho 0.9,
        epsilon 1e-7. Adam with a weight decay is AdamW.
    learning_rate : float
    epochs : float
    checkpoints : tuple of float
        Epochs at which the network is kept, rising; a fraction of an epoch is rounded to steps.
    batch_size : int
        Lowered to the number of examples where there are fewer; what is left of an epoch after the
        last whole batch is left out.
    dropout : float, default 0.0
        Fraction of the values after each activation that are set to 0, rounded to 1/256.
    l2 : float, default 0.0
        Times the sum of squares of all kernels, added to the loss.
    weight_decay : float, default 0.0
        Decoupled: each step takes ``learning_rate * weight_decay`` of every kernel away.
    initialiser : str, default "glorot_uniform"
        ``"keras_default"`` and ``"torch_default"`` start biases, embeddings and recurrent layers as
        the framework does, too.
    init_std : float, default 0.05
        Standard deviation of the initialisers RandomNormal and TruncatedNormal; the others do
        without.
    schedule : {"constant", "cosine", "steps"}, default "constant"
        Of the learning rate: constant; down to 0 along a cosine; a tenth after half of the epochs
        and a hundredth after three quarters.
    regime : str, default ""
        What the network was meant to become, for the record.
    """

    family: str
    index: int
    seed: int
    order_seed: int
    task: Task
    architecture: Architecture
    optimizer: str
    learning_rate: float
    epochs: float
    checkpoints: tuple[float, ...]
    batch_size: int
    dropout: float = 0.0
    l2: float = 0.0
    weight_decay: float = 0.0
    initialiser: str = "glorot_uniform"
    init_std: float = 0.05
    schedule: str = "constant"
    regime: str = ""

    def __post_init__(self) -> None:
        for name, choices in (
            ("optimizer", OPTIMISERS),
            ("initialiser", INITIALISERS),
            ("schedule", SCHEDULES),
        ):
            if getattr(self, name) not in choices:
                raise ZooError(
                    f"A recipe's {name} cannot be {getattr(self, name)!r}. Choose one of {choices}."
                )
        if not 0 <= self.dropout < 1:
            raise ZooError(f"A dropout of {self.dropout} is outside [0, 1).")
        if self.batch_size < 1:
            raise ZooError(f"A batch_size of {self.batch_size} is too small; use at least 1.")
        kept = self.checkpoints
        if not kept or list(kept) != sorted(set(kept)) or kept[0] < 0 or kept[-1] > self.epochs:
            raise ZooError(f"The checkpoints {kept} do not rise from 0 to {self.epochs} epochs.")

    @property
    def dropout_threshold(self) -> int:
        """Of 256 values after an activation, how many dropout sets to 0."""
        return min(round(self.dropout * 256), 255)

    def batch_of(self, n_train: int) -> int:
        """Images in a mini-batch when there are ``n_train`` images."""
        return min(self.batch_size, n_train)

    def steps_of(self, n_train: int) -> int:
        """Return the steps in an epoch when there are ``n_train`` images."""
        return n_train // self.batch_of(n_train)

    def checkpoint_steps(self, n_train: int) -> tuple[int, ...]:
        """Turn the checkpoints into numbers of steps when there are ``n_train`` images."""
        steps = self.steps_of(n_train)
        return tuple(math.floor(epochs * steps + 0.5) for epochs in self.checkpoints)

    def learning_rates(self, n_steps: int) -> NDArray[np.float64]:
        """Return the learning rate of each of ``n_steps`` steps, shape (n_steps,)."""
        progress = np.arange(n_steps) / n_steps
        if self.schedule == "cosine":
            return self.learning_rate * 0.5 * (1.0 + np.cos(np.pi * progress))
        if self.schedule == "steps":
            drops = np.where(progress >= 0.75, 0.01, np.where(progress >= 0.5, 0.1, 1.0))
            return self.learning_rate * drops
        return np.full(n_steps, self.learning_rate)

    def check_fits(self, facts: DataFacts) -> None:
        """Raise `ZooError` where a data set is another one than the recipe's, or too small."""
        task = self.task
        if task.dataset != facts.name:
            raise ZooError(
                f"The recipe is for the data set {task.dataset!r} and cannot be trained on "
                f"{facts.name!r}. Give the recipe's data set."
            )
        n_old = facts.n_classes * (1 if task.transform == "none" else 2)
        if task.label_map is not None and len(task.label_map) != n_old:
            raise ZooError(
                f"The task's label_map has {len(task.label_map)} entries; it needs {n_old}, as the "
                f"data set has classes (times two with a transform)."
            )
        if self.architecture.is_convolutional:
            self.architecture.sizes(task.form.size)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON or TOML; what is None is left out."""
        return _plain(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkRecipe:
        """Turn the values of `to_dict` back into a recipe.

        Values that are missing, unknown or outside their range raise `ZooError`.
        """
        parts = dict(values)
        task = parts.get("task")
        if isinstance(task, Mapping):
            task = {**task, "form": _build(InputForm, task.get("form"))}
        parts["task"] = _build(Task, task)
        parts["architecture"] = _build(Architecture, parts.get("architecture"))
        recipe: NetworkRecipe = _build(cls, parts)
        return recipe

    def hyperparameters(self) -> dict[str, float | int | str]:
        """Flat numbers and strings, named as in the published zoo where that has a name."""
        task, architecture = self.task, self.architecture
        return {
            "activation": architecture.activation,
            "b_init": "zeros",
            "batchsize": self.batch_size,
            "dataset": task.dataset,
            "dnn_architecture": architecture.kind,
            "dropout": self.dropout,
            "epochs": self.epochs,
            "init_std": self.init_std,
            "l2reg": self.l2,
            "learning_rate": self.learning_rate,
            "num_layers": len(architecture.widths),
            "num_units": max(architecture.widths),
            "optimizer": self.optimizer,
            "random_seed": self.seed,
            "train_fraction": task.train_fraction,
            "w_init": self.initialiser,
            "family": self.family,
            "head": architecture.head,
            "image_size": task.form.size if task.form.kind == "image" else 0,
            "input_kind": task.form.kind,
            "label_noise": task.label_noise,
            "n_classes": task.n_classes,
            "n_train": task.n_train,
            "normalisation": architecture.normalisation,
            "padding": architecture.padding,
            "pooling": architecture.pooling,
            "regime": self.regime,
            "schedule": self.schedule,
            "weight_decay": self.weight_decay,
        }


def _plain(value: Any) -> Any:
    """Dicts, lists and scalars without None, which TOML cannot hold."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, (tuple, list)):
        return [_plain(inner) for inner in value]
    return value


def _build(cls: type, values: Any) -> Any:
    """Build a dataclass from plain values; lists become tuples."""
    if isinstance(values, cls):
        return values
    if not isinstance(values, Mapping):
        raise ZooError(f"{cls.__name__} needs a table of values, and {values!r} is none.")
    known = {f.name for f in dataclasses.fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ZooError(f"{cls.__name__} has no values {unknown}; it has {sorted(known)}.")
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return cls(**given)
    except TypeError as error:
        raise ZooError(f"Values of {cls.__name__} are missing: {error}.") from error
