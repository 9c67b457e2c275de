"""Predictors whose answers a test decides, so that stopping and choosing can be checked exactly."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accuracy_from_weights import load_predictor
from accuracy_from_weights.callbacks import judging
from accuracy_from_weights.errors import AccuracyFromWeightsWarning
from accuracy_from_weights.features.describing import describe_network
from accuracy_from_weights.features.description import FEATURE_NAMES
from accuracy_from_weights.features.feature_sets import feature_names
from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
from accuracy_from_weights.predictor.estimate import Estimate
from accuracy_from_weights.stopping import Diverged, FirstOf, Hopeless, Patience, Plateau


@dataclass(frozen=True)
class Answer:
    """Has what the callbacks read of an `Estimate`."""

    accuracy: float
    low: float = 0.0
    high: float = 1.0
    in_family: bool = True
    condition: str = "ok"


def answer(accuracy: float, **more: Any) -> Answer:
    return Answer(accuracy, max(accuracy - 0.1, 0.0), min(accuracy + 0.1, 1.0), **more)


@dataclass
class Scripted:
    """Gives one answer after another, the last one for ever; an exception among them is raised."""

    answers: Sequence[float | Answer | BaseException]
    rows: list[np.ndarray] = field(default_factory=list)

    @property
    def calls(self) -> int:
        return len(self.rows)

    def judge(self, rows: np.ndarray) -> list[Answer]:
        at = min(self.calls, len(self.answers) - 1)
        self.rows.append(rows)
        item = self.answers[at]
        if isinstance(item, BaseException):
            raise item
        return [answer(item) if isinstance(item, float) else item]


@dataclass
class Foreseeing:
    """Forecasts, as accuracy, the share of the training that is done; fails where that is lost."""

    lost: Sequence[float] = ()
    top: float = 1.0

    def judge(self, rows: Any, progress: float | None = None, horizon: str = "now") -> list[Answer]:
        if horizon == "now":
            return [answer(0.5)]
        assert progress is not None
        if any(abs(progress - share) < 1e-9 for share in self.lost):
            raise OSError("lost")
        return [Answer(progress, progress / 2, self.top)]


# Rule, what is estimated, after how many epochs it ends the run, and why. Intervals are 0.2 wide.
RULES = [
    (lambda: Patience(2, bound="low"), [0.3, 0.6, 0.5, 0.4], 4, "no improvement"),
    (lambda: Plateau(3, share=0.5), [0.3, 0.6, 0.65, 0.62], 4, "plateau"),
    (lambda: Hopeless(0.9, patience=2), [0.85, 0.3], 3, "hopeless"),
    (lambda: FirstOf(Diverged(), Patience(9), Hopeless(0.9)), [0.3, 0.4], 2, "hopeless"),
]


def digits(n: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Return real images, shape (n, 8, 8, 1) in [-1, 1], and their labels."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x[:n] / 8.0 - 1.0).astype("float32").reshape(-1, 8, 8, 1), y[:n].astype("int64")


class ReadsWeights:
    """A predictor whose answer is a plain function of the weights' description."""

    def judge(self, rows: np.ndarray) -> list[Answer]:
        return [answer(float(0.5 + 0.3 * np.sin(row[: len(FEATURE_NAMES)].sum()))) for row in rows]


def raw_accuracy(source: Any) -> float:
    """Return what `ReadsWeights` says of a network."""
    return ReadsWeights().judge(describe_network(source))[0].accuracy


@dataclass
class Informed:
    """Says what `ReadsWeights` says, whatever else it is given, and can be anchored: by a shift."""

    features: str = "weights"
    shift: float = 0.0
    truths: list[float] = field(default_factory=list)

    def judge(
        self, rows: np.ndarray, progress: float | None = None, horizon: str = "now"
    ) -> list[Estimate]:
        (raw,) = ReadsWeights().judge(rows)
        if horizon == "final":
            left = (1 - raw.accuracy) * (1 - progress)
            return [Estimate(raw.accuracy + left, raw.accuracy, 1.0, True)]
        return [Estimate(raw.accuracy + self.shift, raw.low, raw.high, True)]

    def anchor(self, networks: Sequence[Estimate], accuracies: Sequence[float]) -> Informed:
        assert all(isinstance(network, Estimate) for network in networks)
        self.truths[:] = accuracies
        lacking = [
            truth - network.accuracy for network, truth in zip(networks, accuracies, strict=True)
        ]
        return replace(self, shift=float(np.mean(lacking)))


@dataclass
class Sampled(Informed):
    """Reads a training sample, and notes accuracy and loss in the log of each row."""

    features: str = "weights+probes+log+sample"
    logs: list[tuple[float, float]] = field(default_factory=list)

    def judge(self, rows: np.ndarray, **more: Any) -> list[Estimate]:
        names = feature_names(self.features)
        self.logs.append(
            tuple(float(rows[0, names.index(f"log.{k}")]) for k in ("accuracy", "loss"))
        )
        return super().judge(rows, **more)


def notes_of_descriptions(patch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Note what each description of a network by a callback was given, while `patch` lasts."""
    noted: list[dict[str, Any]] = []

    def describe(network: Any, feature_set: str, **evidence: Any) -> np.ndarray:
        noted.append({"network": network, **evidence})
        return describe_network(network, feature_set, **evidence)

    patch.setattr(judging, "describe_network", describe)
    return noted


def ours_among(caught: Any) -> list[str]:
    """Return the texts of this package's warnings among those that ``pytest.warns`` caught."""
    return [str(one.message) for one in caught if one.category is AccuracyFromWeightsWarning]


def untrained_accuracy(predictor_file: Any) -> float:
    """Return what a predictor says of a network that it can say nothing else of."""
    predictor = load_predictor(predictor_file)
    return float(predictor.predict([{"0.weight": np.full((3, 2), np.nan)}])[0])


def seed_all(seed: int) -> None:
    """Seed every generator, so that one which was used without need is found out of step."""
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the global one
    torch.manual_seed(seed)


def save_small_predictor(folder: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    """Write a real predictor, fitted to random networks whose scale tells their accuracy."""
    rng = np.random.default_rng(0)
    scales = np.exp(rng.uniform(-2, 1, 40))
    networks = [
        {
            name: rng.normal(size=shape)
            * (scale / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.1)
            for name, shape in shapes.items()
        }
        for scale in scales
    ]
    path = folder / "small.predictor"
    AccuracyPredictor(n_folds=2).fit(networks, scales / (1 + scales)).save(path)
    return path


def random_states() -> tuple[Any, ...]:
    """Return the state of every generator that training draws from."""
    import torch

    numpy_state = np.random.get_state()[1].tobytes()  # noqa: NPY002 - the global one
    return torch.get_rng_state().numpy().tobytes(), numpy_state, random.getstate()
