"""Make a labelled task from a seed: images, tables, token sequences or signals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.universe import KIND_SHARES
from accuracy_from_weights.zoo_training.universe import images, signals, tables, tokens
from accuracy_from_weights.zoo_training.universe.difficulty import ease_for
from accuracy_from_weights.zoo_training.universe.draft import (
    Draft,
    Integers,
    draw_class_count,
    draw_shares,
    draw_sizes,
    scramble_labels,
)

UNIVERSE_VERSION = 4
"""Changes whenever a seed comes to mean another task."""

_UNKNOWABLE = 0.15
"""How often some labels are nobody's to know."""

_KINDS: dict[str, Any] = {"image": images, "table": tables, "tokens": tokens, "signal": signals}


@dataclass(frozen=True, eq=False)
class TaskData:
    """A labelled task: examples to train on and to test on, drawn alike.

    Attributes
    ----------
    kind : {"image", "table", "tokens", "signal"}
    x_train, x_test : ndarray
        Images: (n, channels, size, size), uint8 in [0, 255]. Tables: (n, columns), float32, columns
        about standardised. Tokens: (n, length), int64, 0 pads the end. Signals:
        (n, channels, length), float32, about standardised.
    y_train, y_test : ndarray of shape (n,), int64
        Classes, 0 to ``n_classes - 1``; each occurs among both.
    n_classes : int
    vocabulary : int or None
        Tokens run from 0 to ``vocabulary - 1``. None for other kinds.
    facts : dict
        How the task was made: version of the universe, seed, family, the accuracy above chance
        that was aimed at, ease, label noise, sizes. Plain values that JSON knows.
    """

    kind: str
    x_train: NDArray[np.generic]
    y_train: Integers
    x_test: NDArray[np.generic]
    y_test: Integers
    n_classes: int
    vocabulary: int | None
    facts: dict[str, Any]


def make_task(seed: int, kind: str | None = None) -> TaskData:
    """Make the labelled task that belongs to a seed.

    The same seed makes the same task everywhere, up to rounding (a pixel may differ by one in 255).

    Parameters
    ----------
    seed : int
        0 or greater.
    kind : {"image", "table", "tokens", "signal"}, optional
        Defaults to one drawn by `KIND_SHARES`; ``make_task(seed)`` is then the same as
        ``make_task(seed, kind)`` for the kind that it has.

    Returns
    -------
    TaskData

    Raises
    ------
    ZooError
        When the seed is negative or the kind unknown.

    Examples
    --------
    >>> task = make_task(3, "table")
    >>> task.x_train.shape[1] == task.facts["columns"]
    True
    """
    if seed < 0:
        raise ZooError(f"The seed of a task is {seed}; choose one that is 0 or greater.")
    if kind is None:
        kind = _kind_of(seed)
    if kind not in _KINDS:
        raise ZooError(f"{kind!r} is no kind of task; choose one of {', '.join(_KINDS)}.")
    return draw_task(seed, kind)


def aim_of(seed: int, kind: str | None = None) -> float:
    """Return the accuracy above chance that the task of a seed aims at, without making the task.

    Parameters
    ----------
    seed, kind
        As for `make_task`.
    """
    return _draft(seed, kind or _kind_of(seed)).aim


def _kind_of(seed: int) -> str:
    """Draw the kind of input that belongs to a seed."""
    names = list(KIND_SHARES)
    rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed])))
    return names[rng.choice(len(names), p=list(KIND_SHARES.values()))]


def draw_task(
    seed: int, kind: str, *, family: str | None = None, ease: float | None = None
) -> TaskData:
    """Make a task, of a given family and ease where that is to be measured.

    Parameters
    ----------
    seed : int
    kind : str
    family : str, optional
        One of the ``FAMILIES`` of the kind's module. Defaults to one that is drawn.
    ease : float, optional
        In [0, 1]. Defaults to what an accuracy takes that is drawn evenly between chance and 1.
    """
    draft = _draft(seed, kind, family, ease)
    x = _KINDS[kind].make_examples(draft)
    if draft.unknowable:
        scramble_labels(draft, draft.unknowable)
    return _split(draft, kind, x)


def _draft(seed: int, kind: str, family: str | None = None, ease: float | None = None) -> Draft:
    """Draw all that a task is made from; the examples are drawn after it."""
    module = _KINDS[kind]
    stream = np.random.SeedSequence([seed, 1 + list(_KINDS).index(kind)])
    rng = np.random.Generator(np.random.SFC64(stream))
    families = list(module.FAMILIES)
    weights = np.array(list(module.FAMILIES.values()))
    drawn = families[rng.choice(len(families), p=weights / weights.sum())]
    family = family or drawn
    form = module.draw_form(rng)
    n_classes = draw_class_count(rng, kind, family)
    n_train, n_test = draw_sizes(rng, n_classes, module.most_examples(form))
    shares = draw_shares(rng, n_classes)
    aim = float(rng.uniform(0.0, 1.0))
    unknowable = 0.0
    if rng.random() < _UNKNOWABLE:
        unknowable = float(rng.uniform(0.0, min(0.6, 1.0 - aim)))
    if ease is None:
        aimed = aim / (1.0 - unknowable)
        ease = ease_for(family, aimed, n_classes, n_train, float(shares.max()))
    return Draft(
        rng=rng,
        family=family,
        n_classes=n_classes,
        shares=shares,
        labels=rng.choice(n_classes, size=n_train + n_test, p=shares).astype(np.int64),
        n_train=n_train,
        ease=ease,
        aim=aim,
        unknowable=unknowable,
        facts={
            "universe": UNIVERSE_VERSION,
            "seed": seed,
            "kind": kind,
            "family": family,
            "aim": round(aim, 4),
            "ease": round(ease, 4),
            "unknowable_labels": round(unknowable, 4),
            **form,
        },
    )


def _split(draft: Draft, kind: str, x: NDArray[np.generic]) -> TaskData:
    """Part examples to train on from those to test on; drop classes that one of them lacks."""
    labels, n_train = draft.labels, draft.n_train
    counts = [np.bincount(part, minlength=draft.n_classes) for part in np.split(labels, [n_train])]
    known = np.flatnonzero(np.minimum(*counts))
    if len(known) < draft.n_classes:
        kept = np.isin(labels, known)
        n_train = int(kept[:n_train].sum())
        x, labels = x[kept], np.searchsorted(known, labels[kept])
    largest = float(np.bincount(labels).max() / len(labels))
    facts = draft.facts | {
        "n_classes": len(known),
        "n_train": n_train,
        "n_test": len(x) - n_train,
        "largest_class": round(largest, 4),
    }
    return TaskData(
        kind=kind,
        x_train=x[:n_train],
        y_train=labels[:n_train],
        x_test=x[n_train:],
        y_test=labels[n_train:],
        n_classes=len(known),
        vocabulary=facts.get("vocabulary"),
        facts=facts,
    )
