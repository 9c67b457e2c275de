"""Tables: mixtures, curved sheets, and trees, networks, sums and cells as teachers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.zoo_training.universe.draft import Draft, Floats

Doubles = NDArray[np.float64]

FAMILIES = {
    "mixture": 0.2,
    "sheets": 0.14,
    "trees": 0.2,
    "networks": 0.2,
    "sums": 0.14,
    "cells": 0.12,
}
"""How often each family is drawn."""

_MOST_COLUMNS = 120


def draw_form(rng: np.random.Generator) -> dict[str, Any]:
    """Draw how many columns matter, how many do not, and how many hold categories."""
    relevant = round(math.exp(rng.uniform(math.log(2), math.log(30))))
    return {
        "relevant_columns": relevant,
        "irrelevant_columns": int(rng.integers(0, relevant + 5)) if rng.random() < 0.5 else 0,
        "categorical_share": round(float(rng.uniform(0, 0.8)), 3) if rng.random() < 0.5 else 0.0,
    }


def most_examples(form: Mapping[str, Any]) -> int:
    """Return how many rows a table may have: no limit of its own."""
    return 10_000


def make_examples(draft: Draft) -> Floats:
    """Draw the rows of a table: (n, columns), float32."""
    width = draft.facts["relevant_columns"]
    if draft.family in _FROM_LABELS:
        values = _FROM_LABELS[draft.family](draft, width)
        columns = [_delivered(draft, column) for column in values.T]
    else:
        values = _inputs(draft, width)
        codes = [_categories(draft, column) for column in values.T]
        seen = np.stack(
            [
                column if code is None else draft.rng.standard_normal(code.max() + 1)[code]
                for column, code in zip(values.T, codes, strict=True)
            ],
            axis=1,
        )
        scores = _TEACHERS[draft.family](draft, seen)
        kept = draft.choose_by_scores(scores, draft.between(12.0, 0.02))
        values = values[kept]
        codes = [code if code is None else code[kept] for code in codes]
        columns = [
            _numeric(draft, column) if code is None else _encoded(draft, code)
            for column, code in zip(values.T, codes, strict=True)
        ]
    columns += _irrelevant(draft, values)
    table = np.concatenate([columns[i] for i in draft.rng.permutation(len(columns))], axis=1)
    table = table[:, draft.rng.permutation(table.shape[1])[:_MOST_COLUMNS]]
    table = (table - table.mean(axis=0)) / (table.std(axis=0) + 1e-9)
    if draft.chance(0.15):
        # Missing values, filled with the column's mean.
        missing = draft.uniform(0.01, 0.2) * (1.1 - draft.ease)
        table[draft.rng.random(table.shape) < missing] = 0.0
    draft.facts["columns"] = table.shape[1]
    return table.astype(np.float32)


def _mixture(draft: Draft, width: int) -> Doubles:
    """Draw each class from several normal distributions."""
    rng = draft.rng
    modes = int(rng.integers(1, 5))
    centres = rng.standard_normal((draft.n_classes, modes, width))
    mode = rng.integers(modes, size=draft.n)
    noise = rng.standard_normal((draft.n, width))
    if draft.chance(0.7):
        # Classes may differ in how columns go together, the more the easier they are.
        differ = draft.ease if draft.chance(0.5) else 0.0
        mix = np.eye(width) + draft.prototypes(differ, width, width) / math.sqrt(width)
        each = mix[draft.labels]
        noise = np.einsum("nij,nj->ni", each, noise)
        noise /= noise.std()
    apart = draft.between(0.15, 7.0) * draft.crowding(width) / width**0.4
    return centres[draft.labels, mode] * apart + noise


def _sheets(draft: Draft, width: int) -> Doubles:
    """Bend each class, of few dimensions, through the columns."""
    rng = draft.rng
    n_latent = int(rng.integers(1, 4))
    apart, within = draft.separation(0.1, 12.0, widest=0.6, dimensions=width)
    hidden = 16
    latent = rng.uniform(-1, 1, (draft.n, n_latent))
    own = draft.prototypes(1.0, hidden) * 2 * apart
    bent = np.tanh(latent @ rng.normal(0, 1.5, (n_latent, hidden)) + own[draft.labels])
    values = bent @ rng.standard_normal((hidden, width)) / 2
    return values + 1.5 * within * rng.standard_normal(values.shape)


def _inputs(draft: Draft, width: int) -> Doubles:
    """Draw what a teacher labels: independent, correlated or clustered columns."""
    rng = draft.rng
    n = draft.candidates(min(3.0 + draft.n_classes / 8, 8.0))
    values = rng.standard_normal((n, width))
    way = rng.integers(3)
    if way == 1:
        values = values @ (np.eye(width) + rng.standard_normal((width, width)) / math.sqrt(width))
    elif way == 2:
        centres = rng.standard_normal((int(rng.integers(2, 9)), width))
        values = centres[rng.integers(len(centres), size=n)] + 0.6 * values
    return (values - values.mean(axis=0)) / values.std(axis=0)


def _trees(draft: Draft, values: Doubles) -> Doubles:
    rng = draft.rng
    n_trees = 1 + int(rng.uniform(0, 5) * (1.1 - draft.ease))
    # Easy trees ask few columns.
    asked = rng.permutation(values.shape[1])[: max(2, round(values.shape[1] ** (1.3 - draft.ease)))]
    depth = max(2, math.ceil(math.log2(draft.n_classes))) + round((1 - draft.ease) * 3)
    scores = np.zeros((len(values), draft.n_classes))
    for _ in range(n_trees):
        node = np.zeros(len(values), dtype=np.int64)
        # The nearer to a threshold, the less a tree has to say.
        margin = np.ones(len(values))
        for level in range(depth):
            column = rng.choice(asked, size=2**level)
            threshold = 0.7 * rng.standard_normal(2**level)
            above = values[np.arange(len(values)), column[node]] - threshold[node]
            margin = np.minimum(margin, np.abs(above))
            node = 2 * node + (above > 0)
        leaves = rng.standard_normal((2**depth, draft.n_classes))
        scores += leaves[node] * margin[:, None]
    return scores


def _networks(draft: Draft, values: Doubles) -> Doubles:
    rng = draft.rng
    hidden, gain = int(rng.integers(4, 33)), draft.between(3.0, 0.4)
    for _ in range(int(rng.integers(1, 3))):
        width = values.shape[1]
        values = np.tanh(
            gain * values @ rng.standard_normal((width, hidden)) / math.sqrt(width)
            + 0.5 * rng.standard_normal(hidden)
        )
    return values @ rng.standard_normal((hidden, draft.n_classes))


def _sums(draft: Draft, values: Doubles) -> Doubles:
    """Add one curve for each column, and products of some pairs."""
    rng = draft.rng
    width = values.shape[1]
    scores = np.zeros((len(values), draft.n_classes))
    for column in values.T:
        curve = np.sin(rng.uniform(0.3, 2.0) * column + rng.uniform(0, 2 * math.pi))
        # In easy tasks few columns count.
        importance = rng.exponential() ** (1 + 2 * draft.ease)
        scores += importance * np.outer(curve, rng.standard_normal(draft.n_classes))
    for _ in range(int(rng.uniform(0, 4) * (1.1 - draft.ease))):
        product = values[:, rng.integers(width)] * values[:, rng.integers(width)]
        scores += np.outer(product, rng.standard_normal(draft.n_classes))
    return scores


def _cells(draft: Draft, values: Doubles) -> Doubles:
    """Let the nearest of some points in a few directions name the class."""
    rng = draft.rng
    n_directions = int(rng.integers(1, 5))
    direction = rng.standard_normal((values.shape[1], n_directions)) / math.sqrt(values.shape[1])
    values = values @ direction
    per_class = 1 + round((1 - draft.ease) * float(rng.uniform(0, 8)))
    points = rng.standard_normal((draft.n_classes, per_class, n_directions))
    distance = ((values[:, None, None, :] - points) ** 2).sum(axis=-1)
    return -np.sqrt(distance.min(axis=-1))


def _categories(draft: Draft, column: Doubles) -> NDArray[np.int64] | None:
    """Turn a column into categories, as often as the task has them."""
    if not draft.chance(draft.facts["categorical_share"]):
        return None
    rng = draft.rng
    n_levels = int(rng.integers(2, 9))
    cuts = np.sort(rng.standard_normal(n_levels - 1))
    return rng.permutation(n_levels)[np.searchsorted(cuts, column)]


def _encoded(draft: Draft, codes: NDArray[np.int64]) -> Doubles:
    """Encode categories as most users do: one column for each, or now and then their number."""
    if draft.chance(0.25):
        return codes[:, None].astype(np.float64)
    return np.eye(codes.max() + 1)[codes]


def _numeric(draft: Draft, column: Doubles) -> Doubles:
    """Deliver a column as it might be measured: skewed, rounded or as it is."""
    way = draft.rng.integers(8)
    column = (column - column.mean()) / (column.std() + 1e-9)
    if way == 0:
        column = np.exp(draft.uniform(0.3, 1.0) * column)
    elif way == 1:
        column = np.sign(column) * np.abs(column) ** 1.7
    elif way == 2:
        column = np.round(column * draft.uniform(1.0, 4.0))
    return column[:, None]


def _delivered(draft: Draft, column: Doubles) -> Doubles:
    codes = _categories(draft, column / column.std())
    return _numeric(draft, column) if codes is None else _encoded(draft, codes)


def _irrelevant(draft: Draft, values: Doubles) -> list[Doubles]:
    """Draw columns that say nothing, or only again what others say."""
    rng = draft.rng
    columns = []
    for _ in range(draft.facts["irrelevant_columns"]):
        column = rng.standard_normal(draft.n)
        if draft.chance(0.25):
            column = values @ rng.standard_normal(values.shape[1]) + 0.3 * column
        columns.append(_numeric(draft, column))
    return columns


_FROM_LABELS = {"mixture": _mixture, "sheets": _sheets}
_TEACHERS = {"trees": _trees, "networks": _networks, "sums": _sums, "cells": _cells}
