"""Numbers that say how a network answers, whatever its classes are and however many.

Every number is the same when classes are permuted, and is taken from logits less their mean over
the classes, so that logits, log-probabilities and probabilities of one network give the same.
Nothing is decided by a comparison: where two classes are level, rounding must not tip a number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.features.array_ops import LARGEST_FEATURE
from accuracy_from_weights.features.probes.synthetic_inputs import INPUTS_PER_KIND, KINDS

_Floats = NDArray[np.float64]

SUMMARY_NAMES = (
    # Of probabilities: they feel the scale of the logits.
    "entropy",
    "entropy_low",
    "entropy_high",
    "entropy_of_mean",
    "information",
    "confidence",
    # Of choices: these and what follows the scale do not feel it.
    "commonest_choice",
    "choices",
    "log_scale",
    # Of the logits' pattern.
    "varied",
    "participation",
    "tempered_entropy",
    "tempered_information",
    "lead",
    "standout",
    # Of a small change of the input.
    "sensitivity",
    "changed_choices",
    "divergence",
)
"""Names of the numbers for each kind of inputs; all but the first six and the last, `divergence`
and `log_scale`, stay the same when all logits are multiplied by one number."""

OVERALL_NAMES = (
    "entropy_of_mean",
    "information",
    "commonest_choice",
    "choices",
    "varied",
    "participation",
    "tempered_information",
    "between_kinds",
)
"""Names of the numbers for the inputs of all kinds together."""

PROBE_NAMES: tuple[str, ...] = (
    *(f"{kind}.{name}" for kind in KINDS for name in SUMMARY_NAMES),
    *(f"all.{name}" for name in OVERALL_NAMES),
)
"""Names of the columns of `summarise`."""

# Logits are cut to it, so that their fourth powers are finite.
_LARGEST_LOGIT = 1e30
_SMALLEST_PROBABILITY = 1e-30
# Spreads below this part of the logits' size are rounding, of which nothing is to be read.
_FAINT = 1e-4
_TINY = 1e-30
# How sharply a choice is made: two classes whose logits differ by a tenth of the logits' size
# share it as 95 to 5.
_SHARPNESS = 30.0


Batch = tuple[NDArray[Any], Mapping[str, NDArray[Any]]]
"""Inputs and, by name, what a network is given beside them."""


def as_vectors(answers: Any, n: int, name: str) -> Any:
    """Return a network's answers to n inputs, an array or tensor, in the shape (n, n_outputs).

    Raises
    ------
    UnsupportedModelError
        When there is not one vector of answers for each input.
    """
    shape = tuple(answers.shape)
    if shape[:1] != (n,) or math.prod(shape[1:]) != max(shape[1:2], default=1):
        raise UnsupportedModelError(
            f"{name} is no classifier that can be asked: it answers {n} inputs with a tensor of "
            f"shape {shape} and not with one vector of class scores each. Use a predictor with "
            "features='weights', or pass the part that classifies."
        )
    return answers.reshape(n, -1)


def logits_of(outputs: NDArray[np.generic]) -> _Floats:
    """Turn a network's outputs into logits.

    Parameters
    ----------
    outputs : ndarray of shape (n, n_classes), (n,), or with further axes of length 1
        Logits, log-probabilities, or probabilities, which are told by their sum of 1. A single
        output is that of two classes: their probability where all lie in [0, 1], else a logit.

    Returns
    -------
    ndarray of shape (n, n_classes), float64, n_classes at least 2
        Less their mean over the classes; NaN and infinities stay.

    Raises
    ------
    UnsupportedModelError
        When there is not one vector of answers for each input.
    """
    values = np.asarray(outputs, np.float64)
    if values.ndim < 1 or values[0].size < 1 or max((1, *values.shape[2:])) > 1:
        raise UnsupportedModelError(
            f"The model's outputs have the shape {values.shape} instead of (inputs, classes), so "
            "it is no classifier of single inputs."
        )
    values = values.reshape(len(values), -1)
    with np.errstate(all="ignore"):
        is_bounded = bool((values >= 0).all() and (values <= 1 + 1e-6).all())
        if values.shape[1] == 1:
            if is_bounded:
                values = np.concatenate([1 - values, values], axis=1)
                return _centred(np.log(np.maximum(values, _SMALLEST_PROBABILITY)))
            return _centred(np.concatenate([np.zeros_like(values), values], axis=1))
        if is_bounded and np.abs(values.sum(axis=1) - 1).max() < 0.01:
            return _centred(np.log(np.maximum(values, _SMALLEST_PROBABILITY)))
        return _centred(values)


def summarise(logits: _Floats, nudged: _Floats) -> NDArray[np.float32]:
    """Summarise the answers of networks.

    Parameters
    ----------
    logits : ndarray of shape (n_networks, N_INPUTS, n_classes)
        Answers to the synthetic inputs.
    nudged : ndarray of the same shape
        Answers to the same inputs, changed a little.

    Returns
    -------
    ndarray of shape (n_networks, len(PROBE_NAMES)), float32
        Finite; NaN in the whole row of a network one of whose answers is not finite.
    """
    n_networks = len(logits)
    numbers = np.full((n_networks, len(PROBE_NAMES)), np.nan, np.float32)
    finite = np.isfinite(logits).all(axis=(1, 2)) & np.isfinite(nudged).all(axis=(1, 2))
    if not finite.any():
        return numbers
    answers, changed = (_centred(z[finite].astype(np.float64)) for z in (logits, nudged))
    with np.errstate(over="ignore", under="ignore"):
        n_classes = answers.shape[-1]
        before, after = (z.reshape(-1, INPUTS_PER_KIND, n_classes) for z in (answers, changed))
        each = _pattern(before)
        each |= _change(before, after, each["varied"])
        of_kinds = np.stack([each[name] for name in SUMMARY_NAMES], axis=1)
        columns = [*of_kinds.reshape(len(answers), -1).T]
        overall = _pattern(answers) | {"between_kinds": _between_kinds(answers)}
        columns += [overall[name] for name in OVERALL_NAMES]
    numbers[finite] = np.clip(np.stack(columns, axis=1), -LARGEST_FEATURE, LARGEST_FEATURE)
    return numbers


def _centred(logits: _Floats) -> _Floats:
    with np.errstate(invalid="ignore"):
        cut = np.where(
            np.isfinite(logits), np.clip(logits, -_LARGEST_LOGIT, _LARGEST_LOGIT), logits
        )
        centred: _Floats = cut - cut.mean(axis=-1, keepdims=True)
    return centred


def _log_softmax(logits: _Floats) -> _Floats:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    normalised: _Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised


def _entropy(p: _Floats) -> _Floats:
    """Return the entropy over the last axis as a fraction of the largest that there can be."""
    entropy: _Floats = -(p * np.log(np.maximum(p, _TINY))).sum(axis=-1)
    return entropy / np.log(p.shape[-1])


def _sizes(answers: _Floats) -> tuple[_Floats, _Floats]:
    """Root mean square of each network's logits, shape (n,), and of each answer's, (n, inputs)."""
    each = np.sqrt((answers**2).mean(axis=-1))
    whole = np.maximum(np.sqrt((each**2).mean(axis=1)), _TINY)
    # An answer of nearly equal logits has no leader, rather than one by rounding.
    return whole, np.maximum(each, 1e-3 * whole[:, None])


def _choices(answers: _Floats) -> _Floats:
    """Share each answer out among the classes, nearly all to the one with the largest logit."""
    _, each = _sizes(answers)
    return np.exp(_log_softmax(_SHARPNESS * answers / each[..., None]))


def _pattern(answers: _Floats) -> dict[str, _Floats]:
    """Numbers from logits of shape (n_networks, n_inputs, n_classes) less their class mean."""
    n_inputs, n_classes = answers.shape[1:]
    whole, each = _sizes(answers)
    p = np.exp(_log_softmax(answers))
    entropy = _entropy(p)
    entropy_of_mean = _entropy(p.mean(axis=1))
    low, high = np.quantile(entropy, (0.1, 0.9), axis=1)
    choices = _choices(answers).mean(axis=1)
    # Temperature is a matter of training time and says little of accuracy: one for all networks.
    tempered = np.exp(_log_softmax(2 * answers / whole[:, None, None]))
    tempered_entropy = _entropy(tempered).mean(axis=1)
    spread = answers - answers.mean(axis=1, keepdims=True)
    # As many inputs as needed, but perhaps a thousand classes: the smaller of the two products.
    products = spread @ spread.swapaxes(1, 2) / (n_inputs * n_classes)
    variance = np.trace(products, axis1=1, axis2=2)
    squares = (products**2).sum(axis=(1, 2)) + (_FAINT * whole) ** 4
    ordered = np.sort(answers, axis=-1) / each[..., None]
    return {
        "entropy": entropy.mean(axis=1),
        "entropy_low": low,
        "entropy_high": high,
        "entropy_of_mean": entropy_of_mean,
        "information": entropy_of_mean - entropy.mean(axis=1),
        "confidence": p.max(axis=-1).mean(axis=1),
        "commonest_choice": choices.max(axis=-1),
        "choices": _entropy(choices) * np.log(n_classes) / np.log(min(n_classes, n_inputs)),
        "log_scale": np.log10(np.maximum(whole, 1e-6)),
        "varied": np.sqrt(variance) / whole,
        # 1 over the sum of squared shares of the variance: how many directions answers vary in.
        "participation": variance**2 / np.maximum(squares, _TINY) / min(n_classes - 1, n_inputs),
        "tempered_entropy": tempered_entropy,
        "tempered_information": _entropy(tempered.mean(axis=1)) - tempered_entropy,
        "lead": (ordered[..., -1] - ordered[..., -2]).mean(axis=1),
        "standout": ordered[..., -1].mean(axis=1),
    }


def _change(answers: _Floats, changed: _Floats, varied: _Floats) -> dict[str, _Floats]:
    whole, _ = _sizes(answers)
    moved = np.sqrt(((changed - answers) ** 2).mean(axis=(1, 2))) / whole
    log_p, log_q = _log_softmax(answers), _log_softmax(changed)
    # The symmetric Kullback-Leibler divergence.
    divergence = ((np.exp(log_p) - np.exp(log_q)) * (log_p - log_q)).sum(axis=-1)
    differ = np.abs(_choices(answers) - _choices(changed)).sum(axis=-1) / 2
    return {
        "sensitivity": np.log10((moved + _FAINT) / (varied + _FAINT)),
        "changed_choices": differ.mean(axis=1),
        "divergence": np.log10(np.maximum(divergence, 0).mean(axis=1) + 1e-6),
    }


def _between_kinds(answers: _Floats) -> _Floats:
    """Share of the logits' variance over inputs that lies between the means of the kinds."""
    n_networks, _, n_classes = answers.shape
    means = answers.reshape(n_networks, len(KINDS), INPUTS_PER_KIND, n_classes).mean(axis=2)
    within = answers.var(axis=1).mean(axis=-1)
    whole, _ = _sizes(answers)
    return means.var(axis=1).mean(axis=-1) / np.maximum(within + (_FAINT * whole) ** 2, _TINY)
