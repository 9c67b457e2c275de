"""Draft of a task: its classes, sizes and randomness, and what all kinds of tasks draw alike."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_CLASS_COUNTS = {
    "image": (0.14, 0.34, 0.42, 0.10),
    "table": (0.40, 0.08, 0.48, 0.04),
    "tokens": (0.30, 0.10, 0.52, 0.08),
    "signal": (0.22, 0.12, 0.60, 0.06),
}
"""By kind of input: how often there are 2 classes, 10, any number up to 20, and 50 or 100."""
_MOST_CLASSES = {
    "teachers": 10,
    "trees": 8,
    "sums": 10,
    "cells": 10,
    "counting": 20,
    "order": 24,
    "echoes": 8,
}
"""Families in which more classes than these can hardly be made easy."""
_FEWEST_EXAMPLES = 500
_MOST_EXAMPLES = 6000
_LEAST_SHARE = 0.3
"""The rarest class is expected to have at least this part of an even share."""


@dataclass(eq=False)
class Draft:
    """What a family needs to draw its examples.

    Attributes
    ----------
    rng : Generator
    family : str
    n_classes : int
    shares : ndarray of shape (n_classes,), float64
        Expected share of each class; they sum to 1.
    labels : ndarray of shape (n_train + n_test,), int64
        Drawn before the examples. A family that lets a teacher decide draws them anew.
    n_train : int
    ease : float
        0 where classes can hardly be told apart, 1 where they can hardly be confused.
    aim : float, default 0.0
        Accuracy above chance that good networks are meant to reach.
    unknowable : float, default 0.0
        Fraction of the labels that are drawn anew.
    facts : dict
        What is recorded about the task: plain values that JSON knows.
    """

    rng: np.random.Generator
    family: str
    n_classes: int
    shares: NDArray[np.float64]
    labels: Integers
    n_train: int
    ease: float
    aim: float = 0.0
    unknowable: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Number of examples, those to train on and those to test on."""
        return len(self.labels)

    def uniform(self, low: float, high: float) -> float:
        """Draw one number."""
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """Draw whether something happens."""
        return bool(self.rng.random() < probability)

    def between(self, hardest: float, easiest: float) -> float:
        """Return the number that belongs to the ease, between two positive ends (geometric)."""
        return math.exp(math.log(hardest) + self.ease * (math.log(easiest) - math.log(hardest)))

    def separation(
        self, hardest: float, easiest: float, widest: float = 0.3, dimensions: int = 8
    ) -> tuple[float, float]:
        """Return how far classes lie apart, and how much examples of one class differ.

        Both are relative to the range of what is varied. The ratio of the two follows from the
        ease, from ``hardest`` at 0 to ``easiest`` at 1; which of them is large is left to chance.
        ``widest`` limits the spread within a class. The fewer ``dimensions`` are varied, the closer
        lie many classes.
        """
        ratio = self.between(hardest, easiest) * self.crowding(dimensions)
        apart = min(self.uniform(0.4, 1.0), ratio * widest)
        return apart, apart / ratio

    def crowding(self, dimensions: int) -> float:
        """Return how much closer than two classes all of them lie in so many dimensions."""
        return (self.n_classes / 2) ** (1 / max(dimensions, 1))

    def spread(self, apart: float, *shape: int) -> NDArray[np.float64]:
        """Draw numbers in [0, 1] for each class, (n_classes, *shape), each spread over the classes.

        A Latin hypercube: no two classes agree in any number, except where `apart` is small.
        """
        rank = np.argsort(self.rng.random((self.n_classes, *shape)), axis=0)
        own = (rank + self.rng.uniform(0.25, 0.75, rank.shape)) / self.n_classes
        return self.rng.uniform(0, 1, (1, *shape)) * (1 - apart) + own * apart

    def prototypes(self, apart: float, *shape: int) -> NDArray[np.float64]:
        """Draw one array of standard normal numbers for each class, alike where `apart` is small.

        Returns
        -------
        ndarray of shape (n_classes, *shape)
        """
        common = self.rng.standard_normal((1, *shape))
        own = self.rng.standard_normal((self.n_classes, *shape))
        return common * math.sqrt(max(0.0, 1.0 - apart**2)) + own * apart

    def candidates(self, most: float = 2.0) -> int:
        """Return how many examples a teacher is shown: more in easy tasks, for it to choose from.

        At ease 1 there are ``most`` times the examples wanted.
        """
        return round(self.n * (1.0 + (most - 1.0) * self.ease))

    def choose_by_scores(self, scores: NDArray[np.float64], noise: float) -> Integers:
        """Let the highest of each candidate's scores name its class, at about the shares wanted.

        The scores, (candidates, n_classes), are in double precision, so that machines hardly ever
        disagree about the highest. ``noise`` is the standard deviation of what is added to scores
        of unit variance. Returned are the candidates kept, (n,): of each class, those whose two
        highest scores differ most.
        """
        scores = scores - scores.mean(axis=1, keepdims=True)
        scores = (scores - scores.mean(axis=0)) / scores.std()
        scores = scores + noise * self.rng.standard_normal(scores.shape)
        some = scores[:2000]
        offset = np.zeros(self.n_classes)
        for i in range(120):
            found = np.bincount((some + offset).argmax(axis=1), minlength=self.n_classes)
            # Ever smaller steps, since the highest scores of many classes lie close together.
            step = 0.3 * scores.std() / (1 + i / 6)
            offset += step * np.log(self.shares / ((found + 0.5) / len(some)))
        scores += offset
        labels = scores.argmax(axis=1)
        second, first = np.partition(scores, -2, axis=1)[:, -2:].T
        # Rank by margin within the class, as a part of the class.
        order = np.lexsort((second - first, labels))
        counts = np.bincount(labels, minlength=self.n_classes)
        rank = np.empty(len(labels))
        rank[order] = np.concatenate([(np.arange(k) + 0.5) / k for k in counts])
        kept = np.sort(np.argsort(rank, kind="stable")[: self.n])
        self.labels = labels[kept].astype(np.int64)
        return kept


def draw_class_count(rng: np.random.Generator, kind: str, family: str) -> int:
    """Draw the number of classes: 2 to 20 mostly, sometimes 50 or 100."""
    group = rng.choice(4, p=_CLASS_COUNTS[kind])
    n_classes = (2, 10, int(rng.integers(3, 21)), int(rng.choice([50, 100])))[group]
    most = _MOST_CLASSES.get(family, n_classes)
    return n_classes if n_classes <= most else int(rng.integers(2, most + 1))


def draw_sizes(rng: np.random.Generator, n_classes: int, most: int) -> tuple[int, int]:
    """Draw how many examples there are to train on and to test on, at most ``most`` together."""
    n_test = 2000 if n_classes > 20 else int(rng.integers(1000, 2001))
    low = max(_FEWEST_EXAMPLES, 12 * n_classes)
    high = max(low, min(_MOST_EXAMPLES, most - n_test))
    return round(math.exp(rng.uniform(math.log(low), math.log(high)))), n_test


def draw_shares(rng: np.random.Generator, n_classes: int) -> NDArray[np.float64]:
    """Draw the expected share of each class: even in half of all tasks."""
    if rng.random() < 0.5:
        return np.full(n_classes, 1.0 / n_classes)
    weights = np.exp(rng.uniform(0.1, 0.9) * rng.standard_normal(n_classes))
    shares = np.maximum(weights / weights.sum(), _LEAST_SHARE / n_classes)
    return shares / shares.sum()


def scramble_labels(draft: Draft, fraction: float) -> None:
    """Draw a fraction of all labels anew, those to test on too: nobody can know them."""
    rng = draft.rng
    drawn = rng.choice(draft.n_classes, size=draft.n, p=draft.shares)
    draft.labels = np.where(rng.random(draft.n) < fraction, drawn, draft.labels).astype(np.int64)
