"""The training runs: which network on which data, and whether it goes well."""

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

    @property
    def framework(self) -> str:
        """``"keras"`` or ``"torch"``."""
        return self.network.partition("/")[0]

    @property
    def seed(self) -> int:
        """Of everything that is random in the run."""
        return zlib.crc32(self.name.encode())

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Epochs after which the network is kept, the last one among them."""
        shares = (0.1, 0.25, 0.5, 0.75, 1.0)
        return tuple(sorted({max(round(share * self.epochs), 1) for share in shares}))


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
            is_binary = data in ("breast_cancer", "pima", "italy_power") and k != 3
            runs.append(dataclasses.replace(run, is_augmented=is_augmented, is_binary=is_binary))
    return runs


def of_run(run: Run, data: Data) -> Data:
    """Return the run's own examples, as its framework takes them, some of the labels wrong."""
    rng = np.random.default_rng(run.seed)
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
    return dataclasses.replace(data, x_train=x, y_train=y, x_test=x_test)


def build(run: Run, data: Data):
    """Return the run's network, with the weights that it starts from."""
    outputs = 1 if run.is_binary else data.n_classes
    shape = tuple(int(length) for length in data.x_train.shape[1:])
    _, _, name = run.network.partition("/")
    if run.framework == "keras":
        import keras

        from benchmarks.unseen import keras_networks

        keras.utils.set_random_seed(run.seed)
        return keras_networks.NETWORKS[name](shape, outputs, data.vocabulary)
    import torch

    from benchmarks.unseen import torch_networks

    torch.manual_seed(run.seed)
    return torch_networks.NETWORKS[name](shape, outputs, data.vocabulary)
