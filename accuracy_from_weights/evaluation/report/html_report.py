"""Write an HTML report about a predictor: one file that needs no other."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

from accuracy_from_weights.errors import AccuracyFromWeightsError, needs
from accuracy_from_weights.evaluation.bands import Band, by_accuracy, by_epoch, by_p_value
from accuracy_from_weights.evaluation.crossvalidation import OURS, Evaluation
from accuracy_from_weights.evaluation.inspection import LEVELS, Importance, Inspection
from accuracy_from_weights.evaluation.interval_coverage import Coverage, coverage_by_level
from accuracy_from_weights.evaluation.report import figures
from accuracy_from_weights.evaluation.scores import Score, Scores
from accuracy_from_weights.io.atomic import replacing
from accuracy_from_weights.predictor.folds import last_rows

_TITLE = "Accuracy from weights: how far to trust it"
_MOST_FINE_GROUPS = 12
_DASH = "–"  # noqa: RUF001

_SCORES = (
    ("R²", "r2", 1, 3),
    ("Kendall's τ", "tau", 1, 3),
    ("τ over ceiling", "tau_over_ceiling", 1, 3),
    ("mean absolute error (points)", "mean_absolute_error", 100, 1),
    ("coverage", "coverage", 1, 3),
    ("interval width (points)", "width", 100, 1),
)
"""Heading, attribute of `Scores`, factor and decimals."""


@dataclass(frozen=True)
class _Cell:
    """A score as text, with its bootstrap interval below it."""

    text: str
    range: str | None = None


@dataclass(frozen=True)
class _Table:
    """A table; the first cell of each row names the row."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | _Cell | None]]
    emphasised: str | None = None


def write_report(
    path: str | os.PathLike[str],
    evaluations: Sequence[Evaluation],
    inspections: Sequence[Inspection],
    *,
    zoo: str,
    fingerprint: str,
    given: str | None = None,
) -> None:
    """Write the report; the file appears whole or not at all.

    Parameters
    ----------
    path : str or path-like
    evaluations : sequence of Evaluation
        From `cross_validate` or `score_predictor`.
    inspections : sequence of Inspection
        From the `Inspector` of the same call, in the same order.
    zoo : str
        Name of the networks.
    fingerprint : str
        Of the zoo.
    given : str, optional
        Name of the predictor, where it was not fitted by the evaluation itself.

    Raises
    ------
    MissingDependencyError
        When Jinja2 or matplotlib is not installed.
    AccuracyFromWeightsError
        When the file cannot be written.
    """
    page = render_report(evaluations, inspections, zoo=zoo, fingerprint=fingerprint, given=given)
    try:
        with replacing(path) as temporary:
            temporary.write_text(page, encoding="utf-8")
    except OSError as error:
        raise AccuracyFromWeightsError(
            f"The report cannot be written to {os.fspath(path)}: {error.strerror}."
        ) from error


def render_report(
    evaluations: Sequence[Evaluation],
    inspections: Sequence[Inspection],
    *,
    zoo: str,
    fingerprint: str,
    given: str | None = None,
) -> str:
    """Return the report as text; parameters and errors as in `write_report`."""
    return str(
        load_template().render(
            title=_TITLE,
            zoo=zoo,
            given=given,
            protocol=_protocol(evaluations),
            sections=[_section(*pair) for pair in zip(evaluations, inspections, strict=True)],
            version=metadata.version("accuracy-from-weights"),
            fingerprint=fingerprint,
        )
    )


def load_template() -> Any:
    """Return the report's Jinja2 template, which escapes all text.

    Raises
    ------
    MissingDependencyError
        When Jinja2 is not installed.
    """
    with needs("The report needs Jinja2", extra="report"):
        import jinja2
    loader = jinja2.PackageLoader("accuracy_from_weights.evaluation", "report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("report.html.j2")


def _protocol(evaluations: Sequence[Evaluation]) -> _Table:
    rows = []
    for evaluation in evaluations:
        first = evaluation.all_checkpoints[0]
        rows.append(
            [
                evaluation.dataset,
                f"{first.n_runs:,}",
                f"{first.n_rows:,}",
                evaluation.protocol,
                f"{evaluation.final_tie_ceiling:.3f}",
            ]
        )
    header = ["data set", "runs", "checkpoints", "kept unseen", "tie ceiling of τ, final"]
    return _Table("What was scored", header, rows)


def _section(evaluation: Evaluation, found: Inspection) -> dict[str, Any]:
    """Return what the template shows of one data set."""
    name = evaluation.dataset
    final = last_rows(found.runs, found.steps)
    coverages = coverage_by_level(found.truth, found.intervals, LEVELS, found.runs)
    accuracy_bands = by_accuracy(found.truth, found.errors)
    epoch_bands = by_epoch(found.steps, found.errors)
    family_bands = by_p_value(found.p_values, found.in_family, found.errors)
    fine = found.fine[:_MOST_FINE_GROUPS]
    return {
        "name": name,
        "tiles": _tiles(evaluation, found),
        "truth_pictures": [figures.scatter(found, final), figures.calibration(name, coverages)],
        "coverages": _coverage_table(coverages),
        "final_scores": _score_table("Final checkpoints, one a run", evaluation.final_checkpoints),
        "all_scores": _score_table("All checkpoints", evaluation.all_checkpoints),
        "error_pictures": [
            figures.error_bands(
                name,
                accuracy_bands,
                "true accuracy",
                "Errors by true accuracy: the median, the middle half and the middle nine tenths. "
                "Above 0 the estimate is too high.",
            ),
            figures.error_bands(
                name,
                epoch_bands,
                "epochs trained",
                "The same by how long the networks had been trained.",
            ),
        ],
        "error_tables": [
            _band_table("By true accuracy", accuracy_bands),
            _band_table("By epochs trained", epoch_bands),
        ],
        "outside": f"{1 - found.in_family.mean():.1%}",
        "family_pictures": [
            figures.error_bands(
                name,
                family_bands,
                "how usual the network is (family p-value)",
                "Errors by the share of the zoo's own networks that are at least as unusual.",
            )
        ],
        "has_other_datasets": bool(found.other_datasets),
        "family": _family_table(found),
        "importance_pictures": [
            figures.importances(name, found.coarse, "Features by the part of the network."),
            figures.importances(
                name,
                fine,
                f"Features by what is measured: the first {len(fine)} of {len(found.fine)}.",
            ),
        ],
        "importance_tables": [
            _importance_table("By part of the network", found.coarse),
            _importance_table("By what is measured", found.fine),
        ],
    }


def _tiles(evaluation: Evaluation, found: Inspection) -> list[tuple[str, str]]:
    """Return the few numbers that matter most, each with what it says."""
    ours = next(s for s in evaluation.final_checkpoints if s.name == OURS)
    everywhere = next(s for s in evaluation.all_checkpoints if s.name == OURS)
    facts = [
        ("points off on average, final checkpoints", _points(ours.mean_absolute_error.value)),
        ("Kendall's τ over its ceiling, final", _number(ours.tau_over_ceiling.value)),
        ("R², final checkpoints", _number(ours.r2.value)),
    ]
    if everywhere.coverage is not None:
        promised = f"{evaluation.nominal_coverage:.0%}"
        held = f"{everywhere.coverage.value:.1%}"
        facts.append((f"of all truths in the {promised} interval", held))
    facts.append(("called outside the family", f"{1 - found.in_family.mean():.1%}"))
    return facts


def _score_table(caption: str, scores: Sequence[Scores]) -> _Table:
    rows = [
        [s.name, *(_score(getattr(s, key), factor, digits) for _, key, factor, digits in _SCORES)]
        for s in scores
    ]
    return _Table(caption, ["", *(title for title, *_ in _SCORES)], rows, OURS)


def _score(score: Score | None, factor: float, digits: int) -> _Cell | None:
    if score is None or not math.isfinite(score.value):
        return None
    value, low, high = (
        _number(factor * number, digits) for number in (score.value, score.low, score.high)
    )
    return _Cell(value, f"{low} to {high}" if math.isfinite(score.low) else None)


def _coverage_table(coverages: Sequence[Coverage]) -> _Table:
    rows = [
        [
            f"{c.stated:.0%}",
            f"{c.measured:.1%}",
            f"{c.low:.1%} to {c.high:.1%}",
            _points(c.width),
        ]
        for c in coverages
    ]
    header = ["stated", "held", "95% interval", "mean width (points)"]
    return _Table("Coverage, each run weighing the same", header, rows)


def _band_table(caption: str, bands: Sequence[Band]) -> _Table:
    rows = [
        [
            band.label,
            f"{band.n_rows:,}",
            _points(band.mean_absolute_error),
            f"{100 * band.quantiles[2]:+.1f}",
            f"{100 * band.quantiles[0]:+.1f} to {100 * band.quantiles[-1]:+.1f}",
        ]
        for band in bands
    ]
    header = ["", "networks", "mean absolute error", "median error", "5% to 95% quantile"]
    return _Table(f"{caption} (percentage points)", header, rows)


def _family_table(found: Inspection) -> _Table:
    errors, outside = np.abs(found.errors), ~found.in_family
    rows = [
        _family_row(
            "these networks",
            len(errors),
            float(outside.mean()),
            *(float(errors[part].mean()) if part.any() else np.nan for part in (~outside, outside)),
        )
    ]
    rows += [
        _family_row(s.dataset, s.n_rows, s.share_outside, s.error_inside, s.error_outside)
        for s in found.other_datasets
    ]
    caption = "Mean absolute error (percentage points) of networks inside and outside the family"
    return _Table(caption, ["", "networks", "outside", "error inside", "error outside"], rows)


def _family_row(name: str, n: int, share: float, inside: float, outside: float) -> list[str]:
    return [name, f"{n:,}", f"{share:.1%}", _points(inside), _points(outside)]


def _importance_table(caption: str, groups: Iterable[Importance]) -> _Table:
    rows = [
        [
            group.name,
            f"{group.n_features}",
            f"{100 * group.increase:.2f}",
            f"{100 * group.lowest:.2f} to {100 * group.highest:.2f}",
        ]
        for group in groups
    ]
    header = ["group", "features", "rise of the error", "folds"]
    return _Table(f"{caption} (percentage points)", header, rows)


def _number(value: float, digits: int = 3) -> str:
    """Return a number as text, a dash where it is not defined."""
    return f"{value:.{digits}f}" if math.isfinite(value) else _DASH


def _points(value: float) -> str:
    """Return a difference of accuracies in percentage points."""
    return _number(100 * value, 1)
