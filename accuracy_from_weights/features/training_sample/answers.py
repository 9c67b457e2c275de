"""Numbers that say how a network answers to its own training examples, clean and changed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import InvalidArgumentError
from accuracy_from_weights.features.probes.answers import logits_of
from accuracy_from_weights.features.training_sample.perturbing import PERTURBATIONS
from accuracy_from_weights.features.training_sample.quick_learner import (
    NEIGHBOURS,
    QuickLearner,
    margins,
    neighbours,
    squared_distances,
)
from accuracy_from_weights.features.training_sample.sample import TrainingSample

_Floats = NDArray[np.float64]
_Classes = NDArray[np.int64]

_MARGIN_QUANTILES = {"lowest": 0.05, "low": 0.25, "high": 0.75}
_KINDS = ("table", "tokens", "signal")

SAMPLE_NAMES: tuple[str, ...] = (
    # Of the sample alone: its kind (an image where all three are 0), and how hard it is.
    *(f"is_{kind}" for kind in _KINDS),
    "log_examples",
    "largest_class",
    "nearest",
    "nearest_five",
    "nearest_votes",
    "learner_accuracy",
    "learner_half_accuracy",
    "learner_margin",
    # Of the answers to the examples as they are.
    "accuracy",
    "loss",
    "median_loss",
    *(f"{name}_margin" for name in _MARGIN_QUANTILES),
    "confidence",
    "entropy",
    "log_scale",
    "worst_class",
    "spread_of_classes",
    "answers_nearest",
    "agrees_with_nearest",
    "agrees_with_learner",
    "keeps_what_learner_misses",
    "learner_correlation",
    # Of the answers to the examples as they are changed.
    *(f"{name}.accuracy" for name in PERTURBATIONS),
    "changed.agreement",
    "mixed.agreement",
)
"""Names of the columns of `summarise_answers`.

Accuracies, agreements, confidences and shares are fractions; the loss is in nats, its median the
logarithm to base 10; margins are logits in units of the logits' spread. A change that does
not fit the kind of input, such as blur of a table, counts as no change: the accuracy on the
examples as they are, and full agreement. The agreements are means over the changes that leave an
example what it is, and over those that mix it with another.

Left out, since they told nothing more of networks on tasks that no fit had seen: the agreement for
each change, quantiles of the losses, the concentration of the answers, and the spread of the logits
within the classes.
"""

_LARGEST_LOGIT = 1e4
_LARGEST_LOSS = 20.0
_TINY = 1e-6
_TWO_ANSWERS = ("mix",)
_MIXTURES = ("mix", "uneven_mix", "mix_within", "halves_within")


def summarise_answers(outputs: NDArray[np.generic], sample: TrainingSample) -> NDArray[np.float32]:
    """Summarise how one network answers to a sample.

    Parameters
    ----------
    outputs : ndarray of shape (n_variants * n, n_classes)
        The network's outputs for all of ``sample.variants()``, one after another: logits,
        log-probabilities, or probabilities.
    sample : TrainingSample
        Of n examples.

    Returns
    -------
    ndarray of shape (len(SAMPLE_NAMES),), float32
        Finite; NaN throughout where an answer is not finite.

    Raises
    ------
    UnsupportedModelError
        When there is not one vector of answers for each input.
    InvalidArgumentError
        When the sample has more classes than the network has outputs.
    """
    logits = logits_of(outputs)
    if not np.isfinite(logits).all():
        return np.full(len(SAMPLE_NAMES), np.nan, np.float32)
    logits = np.clip(logits, -_LARGEST_LOGIT, _LARGEST_LOGIT)
    classes = sample.classes
    if classes.max() >= logits.shape[1]:
        raise InvalidArgumentError(
            f"The training sample has a class {classes.max()}, but the network answers with the "
            f"classes 0 to {logits.shape[1] - 1}; pass classes that are counted from 0."
        )
    answers = dict(zip(sample.names, np.split(logits, len(sample.names)), strict=True))
    clean = answers["clean"]
    own = clean.argmax(axis=1)
    numbers = _of_sample(sample) | _of_clean(clean, own, classes)
    numbers |= _of_learner(clean, own, classes, sample.learner)
    agreements: dict[str, list[float]] = {"changed": [], "mixed": []}
    for name in PERTURBATIONS:
        chosen = answers.get(name, clean).argmax(axis=1)
        right, same = chosen == classes, chosen == own
        if name in _TWO_ANSWERS and name in answers:
            # Half of one example and half of another: either's answer is right.
            right |= chosen == classes[sample.other]
            same |= chosen == own[sample.other]
        numbers[f"{name}.accuracy"] = float(right.mean())
        agreements["mixed" if name in _MIXTURES else "changed"].append(float(same.mean()))
    for name, values in agreements.items():
        numbers[f"{name}.agreement"] = float(np.mean(values))
    return np.array([numbers[name] for name in SAMPLE_NAMES], np.float32)


def training_log(outputs: NDArray[np.generic], sample: TrainingSample) -> dict[str, float]:
    """Return what a network reaches on the training data that a sample was chosen from.

    The sample is balanced over the classes and a training loop's accuracy is not, so each example
    counts by how common its class is.

    Parameters
    ----------
    outputs, sample
        As in `summarise_answers`.

    Returns
    -------
    dict of str to float
        ``accuracy``, a fraction, and ``loss``, in nats; NaN where an answer is not finite.
    """
    clean = logits_of(outputs)[: len(sample)]
    losses = -_log_probabilities(clean)[np.arange(len(sample)), sample.classes]
    right = np.where(np.isfinite(losses), clean.argmax(axis=1) == sample.classes, np.nan)
    return {"accuracy": float(right @ sample.weights), "loss": float(losses @ sample.weights)}


def _log_probabilities(logits: _Floats) -> _Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p: _Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_p


def _of_sample(sample: TrainingSample) -> dict[str, float]:
    learner = sample.learner
    return {
        **{f"is_{kind}": float(sample.spec.kind == kind) for kind in _KINDS},
        "log_examples": np.log10(len(sample)),
        "largest_class": np.bincount(sample.classes).max() / len(sample),
        "nearest": learner.nearest,
        "nearest_five": learner.nearest_five,
        "nearest_votes": learner.votes,
        "learner_accuracy": learner.accuracy,
        "learner_half_accuracy": learner.half_accuracy,
        "learner_margin": float(learner.margins.mean()),
    }


def _of_clean(logits: _Floats, own: _Classes, classes: _Classes) -> dict[str, float]:
    n, n_classes = logits.shape
    scale = max(float(np.sqrt((logits**2).mean())), _TINY)
    log_p = _log_probabilities(logits)
    p = np.exp(log_p)
    losses = -log_p[np.arange(n), classes]
    of_class = np.array([(own[classes == k] == k).mean() for k in np.unique(classes)])
    quantiles = np.quantile(margins(logits, classes) / scale, list(_MARGIN_QUANTILES.values()))
    directions = logits / np.maximum(np.linalg.norm(logits, axis=1, keepdims=True), _TINY)
    nearest, _ = neighbours(squared_distances(directions), classes, NEIGHBOURS)
    return {
        "accuracy": float((own == classes).mean()),
        "loss": min(float(losses.mean()), _LARGEST_LOSS),
        "median_loss": np.log10(np.median(losses) + _TINY),
        **{
            f"{name}_margin": value
            for name, value in zip(_MARGIN_QUANTILES, quantiles.tolist(), strict=True)
        },
        "confidence": float(p.max(axis=1).mean()),
        "entropy": float(-(p * log_p).sum(axis=1).mean()) / np.log(n_classes),
        "log_scale": np.log10(scale),
        "worst_class": float(of_class.min()),
        "spread_of_classes": float(of_class.std()),
        "answers_nearest": float((nearest == classes).mean()),
    }


def _of_learner(
    logits: _Floats, own: _Classes, classes: _Classes, learner: QuickLearner
) -> dict[str, float]:
    missed = learner.answers != classes
    ours, theirs = (_ranks(m) for m in (margins(logits, classes), learner.margins))
    return {
        "agrees_with_nearest": float((own == learner.nearest_answers).mean()),
        "agrees_with_learner": float((own == learner.answers).mean()),
        # Of examples that the others speak against, those whose label the network has all the same.
        # Few such examples say little: two more are added that the network does as well as all.
        "keeps_what_learner_misses": float(
            ((own == classes)[missed].sum() + 2 * (own == classes).mean()) / (missed.sum() + 2)
        ),
        "learner_correlation": float((ours * theirs).mean()),
    }


def _ranks(values: _Floats) -> _Floats:
    """Return the ranks of values, of mean 0 and spread 1."""
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(np.float64)
    standard: _Floats = (ranks - ranks.mean()) / ranks.std()
    return standard
