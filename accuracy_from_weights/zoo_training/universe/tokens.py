"""Token sequences: topics, Markov chains, motifs, templates, and rules of counting and order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.zoo_training.universe.draft import Draft, Integers

Doubles = NDArray[np.float64]

FAMILIES = {
    "topics": 0.25,
    "markov": 0.19,
    "motifs": 0.18,
    "templates": 0.14,
    "counting": 0.12,
    "order": 0.12,
}
"""How often each family is drawn."""

_GROUPS = 16
"""Chains move between so many groups of tokens at most."""


def draw_form(rng: np.random.Generator) -> dict[str, Any]:
    """Draw the vocabulary, the longest sequence, and whether sequences differ in length."""
    return {
        "vocabulary": round(math.exp(rng.uniform(math.log(8), math.log(200)))),
        "length": round(math.exp(rng.uniform(math.log(8), math.log(64)))),
        "padded": bool(rng.random() < 0.6),
    }


def most_examples(form: Mapping[str, Any]) -> int:
    """Return how many sequences a task may have: fewer where they are long."""
    return 350_000 // form["length"]


def make_examples(draft: Draft) -> Integers:
    """Draw sequences, (n, length), int64, ended by padding where they differ in length.

    Tokens count from 1 on; 0 is padding.
    """
    length, vocabulary = draft.facts["length"], draft.facts["vocabulary"]
    lengths = np.full(draft.n, length)
    if draft.facts["padded"]:
        shortest = max(6, round(length * draft.uniform(0.3, 0.8)))
        lengths = draft.rng.integers(shortest, length + 1, size=draft.n)
    # Families draw 0 to vocabulary - 2 in the places that are not padded.
    tokens = _FAMILIES[draft.family](draft, lengths, length, vocabulary - 1)
    names = draft.rng.permutation(vocabulary - 1) + 1
    return np.where(np.arange(length) < lengths[:, None], names[tokens], 0).astype(np.int64)


def _zipf(draft: Draft, n_tokens: int) -> Doubles:
    """Return logarithms of how often tokens occur: some often, most seldom."""
    steepness = draft.uniform(0.0, 1.2)
    return -steepness * np.log(1.0 + draft.rng.permutation(n_tokens))


def _sample(draft: Draft, logits: Doubles, rows: Integers, size: int) -> Integers:
    """Draw `size` tokens for each row, from the distribution that `rows` names."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    upto = np.cumsum(weights, axis=1)
    upto /= upto[:, -1:]
    drawn = np.empty((len(rows), size), dtype=np.int64)
    for i in range(len(logits)):
        here = np.flatnonzero(rows == i)
        drawn[here] = np.searchsorted(upto[i], draft.rng.random((len(here), size)))
    return np.minimum(drawn, logits.shape[1] - 1)


def _background(draft: Draft, length: int, n_tokens: int) -> Integers:
    logits = _zipf(draft, n_tokens)[None]
    return _sample(draft, logits, np.zeros(draft.n, dtype=np.int64), length)


def _topics(draft: Draft, lengths: Integers, length: int, n_tokens: int) -> Integers:
    """Let classes prefer tokens: what a bag of words tells."""
    rng = draft.rng
    apart = draft.between(0.04, 3.5)
    own = rng.standard_normal((draft.n_classes, n_tokens))
    few = rng.random((draft.n_classes, n_tokens)) < draft.uniform(0.1, 1.0)
    return _sample(draft, _zipf(draft, n_tokens) + apart * own * few, draft.labels, length)


def _markov(draft: Draft, lengths: Integers, length: int, n_tokens: int) -> Integers:
    """Let one token lead to the next as a chain of the class does."""
    rng = draft.rng
    groups = min(n_tokens, int(rng.integers(3, _GROUPS + 1)))
    apart = draft.between(0.08, 5.0)
    common = rng.standard_normal((groups, groups)) * draft.uniform(0.0, 1.5)
    logits = common + apart * rng.standard_normal((draft.n_classes, groups, groups))
    upto = np.cumsum(np.exp(logits - logits.max(axis=2, keepdims=True)), axis=2)
    upto /= upto[..., -1:]
    state = rng.integers(groups, size=draft.n)
    states = np.empty((draft.n, length), dtype=np.int64)
    for i in range(length):
        states[:, i] = state
        state = (rng.random((draft.n, 1)) > upto[draft.labels, state]).sum(axis=1)
        state = np.minimum(state, groups - 1)
    # Tokens of a group are exchangeable: token modulo groups is its group.
    choices = (n_tokens - 1 - states) // groups + 1
    return states + groups * (rng.random(states.shape) * choices).astype(np.int64)


def _motifs(draft: Draft, lengths: Integers, length: int, n_tokens: int) -> Integers:
    """Hide short sequences of the class, now and then with a wrong token, in others."""
    rng = draft.rng
    n_motifs, width = int(rng.integers(1, 4)), int(rng.integers(2, 5))
    motifs = rng.integers(n_tokens, size=(draft.n_classes, n_motifs, width))
    tokens = _background(draft, length, n_tokens)
    times = int(rng.integers(1, max(2, length // (3 * width)) + 1))
    present = draft.between(0.02, 1.0) ** draft.uniform(0.5, 1.0)
    wrong = (1 - draft.ease) ** 2 * draft.uniform(0.0, 0.5)
    for _ in range(times):
        motif = motifs[draft.labels, rng.integers(n_motifs, size=draft.n)]
        motif = np.where(
            rng.random(motif.shape) < wrong, rng.integers(n_tokens, size=motif.shape), motif
        )
        here = np.flatnonzero(rng.random(draft.n) < present)
        _write(tokens, here, _places(draft, lengths, width)[here], motif[here])
    return tokens


def _templates(draft: Draft, lengths: Integers, length: int, n_tokens: int) -> Integers:
    """Fill the gaps of sentences that belong to the class."""
    rng = draft.rng
    n_templates = int(rng.integers(1, 5))
    common = rng.integers(n_tokens, size=length)
    own = rng.integers(n_tokens, size=(draft.n_classes, n_templates, length))
    shared = rng.random(own.shape) < draft.uniform(0.0, 0.6)
    own = np.where(shared, common, own)
    sentence = own[draft.labels, rng.integers(n_templates, size=draft.n)]
    # Sentences begin anywhere, so that a place alone says little.
    shift = rng.integers(round(draft.uniform(0, length / 2)) + 1, size=draft.n)
    sentence = sentence[np.arange(draft.n)[:, None], (np.arange(length) + shift[:, None]) % length]
    gaps = rng.random(sentence.shape) > draft.between(0.04, 1.0)
    return np.where(gaps, _background(draft, length, n_tokens), sentence)


def _counting(draft: Draft, lengths: Integers, length: int, n_tokens: int) -> Integers:
    """Let the class set how often some tokens occur, wherever they stand."""
    rng = draft.rng
    n_counted = int(rng.integers(1, 5)) + round(math.log2(draft.n_classes) / 2) - 1
    n_counted = min(max(1, n_counted), max(1, n_tokens // 3))
    shortest = int(lengths.min())
    target = draft.spread(1.0, n_counted) * draft.uniform(0.7, 1.0) / n_counted
    jitter = draft.between(4.0, 0.05) / draft.crowding(n_counted) / n_counted
    count = shortest * (target[draft.labels] + jitter * rng.standard_normal((draft.n, n_counted)))
    count = np.clip(np.round(count), 0, shortest).astype(np.int64)
    upto = np.minimum(np.cumsum(count, axis=1), lengths[:, None])
    # Which tokens there are is decided first, then they are shuffled among the places in use.
    slots = (np.arange(length) >= upto[:, :, None]).sum(axis=1)
    others = n_counted + rng.integers(n_tokens - n_counted, size=slots.shape)
    tokens = np.where(slots < n_counted, slots, others)
    key = rng.random(tokens.shape) + (np.arange(length) >= lengths[:, None])
    return np.take_along_axis(tokens, np.argsort(key, axis=1, kind="stable"), axis=1)


def _order(draft: Draft, lengths: Integers, length: int, n_tokens: int) -> Integers:
    """Let the order in which some marks occur name the class."""
    rng = draft.rng
    n_marks = 2
    while math.factorial(n_marks) < draft.n_classes:
        n_marks += 1
    orders = np.argsort(rng.random((4 * draft.n_classes, n_marks)), axis=1)
    orders = np.concatenate([orders, _permutations(n_marks)])
    orders = orders[np.sort(np.unique(orders, axis=0, return_index=True)[1])][: draft.n_classes]
    most = 1 + round(3 * (1 - draft.ease))
    spellings = max(1, min(most, n_tokens // (2 * n_marks)))
    n_special = n_marks * spellings
    tokens = n_special + rng.integers(max(1, n_tokens - n_special), size=(draft.n, length))
    marks = orders[draft.labels]
    lost = rng.random(draft.n) > draft.between(0.05, 1.0)
    marks[lost] = np.argsort(rng.random((int(lost.sum()), n_marks)), axis=1)
    marks = marks + n_marks * rng.integers(spellings, size=marks.shape)
    # The easier, the closer together do marks stand.
    window = np.maximum(np.round(lengths * draft.between(1.0, 0.08)), n_marks)
    after = np.arange(length) - _places(draft, lengths, window)[:, None]
    key = rng.random(tokens.shape) + ((after < 0) | (after >= window[:, None]))
    places = np.sort(np.argsort(key, axis=1, kind="stable")[:, :n_marks], axis=1)
    np.put_along_axis(tokens, places, marks, axis=1)
    return np.minimum(tokens, n_tokens - 1)


def _permutations(n: int) -> Integers:
    """Return the first 120 permutations of n things or all there are."""
    import itertools

    return np.array(list(itertools.islice(itertools.permutations(range(n)), 120)))


def _places(draft: Draft, lengths: Integers, width: int | Doubles) -> Integers:
    """Draw where something of a width begins, so that it ends before the padding."""
    return (draft.rng.random(draft.n) * (lengths - width + 1)).astype(np.int64)


def _write(tokens: Integers, rows: Integers, places: Integers, what: Integers) -> None:
    tokens[rows[:, None], places[:, None] + np.arange(what.shape[1])] = what


_FAMILIES = {
    "topics": _topics,
    "markov": _markov,
    "motifs": _motifs,
    "templates": _templates,
    "counting": _counting,
    "order": _order,
}
