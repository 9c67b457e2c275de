"""The training runs: which network on which data, and whether it goes well; and searches."""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.unseen.data import KINDS, Data

Array = NDArray[np.generic]

_IMAGE_NETWORKS = "keras/cnn torch/cnn_bn keras/cnn_bn torch/resnet torch/cnn keras/resnet"
NETWORKS = {
    "image": f"{_IMAGE_NETWORKS} torch/vit torch/lenet keras/mlp",
    "table": "keras/mlp torch/mlp_bn torch/mlp keras/wide_mlp",
    "tokens": (
        "keras/lstm torch/transformer keras/text_conv1d torch/gru torch/embedding_bag "
        "keras/transformer torch/lstm keras/bag"
    ),
    "signal": "keras/conv1d torch/conv1d torch/mlp_bn keras/mlp",
}
"""Which networks are trained on which kind of data, in turn."""

_REGIMES = {
    "image": "good few good noisy good few noisy short",
    "table": "good few noisy good few short",
    "tokens": "good few noisy good few noisy short",
    "signal": "good few noisy good few short",
}
# Epochs of good runs, of those with few examples, and of those with wrong labels.
_EPOCHS = {
    "image": (10, 30, 12),
    "table": (40, 120, 60),
    "tokens": (8, 25, 12),
    "signal": (40, 80, 50),
}
_SHARES = (0.05, 0.1, 0.2)
_NOISE = (0.2, 0.4, 0.1, 0.3)
_FEWEST = 40
_OF_TWO_CLASSES = ("breast_cancer", "pima", "italy_power")


SEARCHES = {
    "photographs": ("good", 0.4, 0.0),
    "diamonds": ("good", 0.25, 0.0),
    "chile": ("noisy", 0.6, 0.2),
    "males": ("few", 0.15, 0.0),
    "code_words": ("few", 0.1, 0.0),
    "unicode_names": ("noisy", 0.25, 0.3),
    "surnames": ("good", 0.4, 0.0),
    "italy_power": ("few", 0.2, 0.0),
}
"""Of each data set that is searched on: regime, share of its examples, share of wrong labels."""
_CONFIGURATIONS, _SEARCHED_EPOCHS = 27, 10
_VALIDATED = 0.2


@dataclass(frozen=True)
class Configuration:
    """What a search chooses, beside the optimiser.

    Attributes
    ----------
    learning_rate : float
    width, depth : int
        Of the hidden layers.
    dropout : float
    is_normalised : bool
        Whether batch normalisation follows the hidden layers.
    """

    learning_rate: float
    width: int
    depth: int
    dropout: float
    is_normalised: bool


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes
    ----------
    name : str
        Names its file, and decides the random numbers.
    data, network : str
        The network with its framework, as in "keras/cnn".
    regime : {"good", "few", "noisy", "short"}
    share : float
        Of the training examples, that are trained on.
    epochs : int
    noise : float
        Share of the labels that are wrong.
    optimizer : str
    is_augmented : bool
        Whether images are shifted and mirrored, by PyTorch alone.
    is_binary : bool
        Whether two classes are told by one output.
    configuration : Configuration or None
        Of a run of a search. All runs of a search have the same examples, of which a fifth
        validates, and each of their epochs is kept.
    """

    name: str
    data: str
    network: str
    regime: str
    share: float
    epochs: int
    noise: float
    optimizer: str
    is_augmented: bool = False
    is_binary: bool = False
    configuration: Configuration | None = None

    @property
    def framework(self) -> str:
        """``"keras"`` or ``"torch"``."""
        return self.network.partition("/")[0]

    @property
    def seed(self) -> int:
        """Of everything that is random in the run."""
        return _seed(self.name)

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Epochs after which the network is kept, the last one among them."""
        if self.configuration is not None:
            return tuple(range(1, self.epochs + 1))
        shares = (0.1, 0.25, 0.5, 0.75, 1.0)
        return tuple(sorted({max(round(share * self.epochs), 1) for share in shares}))


def _seed(name: str) -> int:
    return zlib.crc32(name.encode())


def plan() -> list[Run]:
    """Return all runs, the same ones each time."""
    runs = []
    turn = {kind: itertools.cycle(networks.split()) for kind, networks in NETWORKS.items()}
    noise, share = itertools.cycle(_NOISE), itertools.cycle(_SHARES)
    for data, kind in KINDS.items():
        for k, regime in enumerate(_REGIMES[kind].split()):
            network = next(turn[kind])
            good, few, noisy = _EPOCHS[kind]
            optimizer = ("adam", "adam", "sgd", "rmsprop", "adam", "adam", "adamw", "adam")[k]
            run = Run(
                name=f"{data}-{k}-{network.replace('/', '-')}-{regime}",
                data=data,
                network=network,
                regime=regime,
                share=1.0,
                epochs={"few": few, "noisy": noisy, "short": 2}.get(regime, good),
                noise=next(noise) if regime == "noisy" else 0.0,
                optimizer=optimizer,
            )
            if regime == "few":
                run = dataclasses.replace(run, share=next(share))
            elif regime != "good" and kind in ("image", "tokens"):
                run = dataclasses.replace(run, share=0.3)
            is_augmented = kind == "image" and run.framework == "torch" and k == 4
            is_binary = data in _OF_TWO_CLASSES and k != 3
            runs.append(dataclasses.replace(run, is_augmented=is_augmented, is_binary=is_binary))
    return runs


def searches() -> list[Run]:
    """Return the runs of random searches, the same ones each time."""
    rng = np.random.default_rng(0)
    runs = []
    for data, (regime, share, noise) in SEARCHES.items():
        for k in range(_CONFIGURATIONS):
            optimizer = str(rng.choice(["adam", "adamw", "sgd", "rmsprop"]))
            exponent = rng.uniform(-4, -1.5)
            configuration = Configuration(
                learning_rate=float(10 ** (exponent + (optimizer == "sgd"))),
                width=int(rng.choice([16, 32, 64])),
                depth=int(rng.integers(1, 4)),
                dropout=float(rng.choice([0.0, 0.2, 0.5])),
                is_normalised=bool(rng.integers(2)),
            )
            run = Run(
                name=f"{data}-search-{k}",
                data=data,
                network="torch/searched",
                regime=regime,
                share=share,
                epochs=_SEARCHED_EPOCHS,
                noise=noise,
                optimizer=optimizer,
                is_binary=data in _OF_TWO_CLASSES,
                configuration=configuration,
            )
            runs.append(run)
    return runs


def of_run(run: Run, data: Data) -> Data:
    """Return the run's own examples, as its framework takes them, some of the labels wrong."""
    rng = np.random.default_rng(_seed(run.data) if run.configuration else run.seed)
    n = min(len(data.x_train), max(int(run.share * len(data.x_train)), _FEWEST))
    x, y = data.x_train[:n], data.y_train[:n].copy()
    # Another class for each that is wrong.
    wrong = rng.permutation(n)[: round(run.noise * n)]
    y[wrong] = (y[wrong] + rng.integers(1, data.n_classes, len(wrong))) % data.n_classes
    x_test = data.x_test
    if run.framework == "torch" and data.kind in ("image", "signal"):
        if data.kind == "image":  # transforms.Normalize
            mean, spread = x.mean(axis=(0, 1, 2)), x.std(axis=(0, 1, 2))
            x, x_test = (x - mean) / spread, (x_test - mean) / spread
        x, x_test = (np.ascontiguousarray(np.moveaxis(part, -1, 1)) for part in (x, x_test))
    own = dataclasses.replace(data, x_train=x, y_train=y, x_test=x_test)
    if run.configuration is None:
        return own
    n = round(_VALIDATED * n)
    own = dataclasses.replace(own, x_validation=x[:n], y_validation=y[:n])
    return dataclasses.replace(own, x_train=x[n:], y_train=y[n:])
