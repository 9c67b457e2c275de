"""A page about a predictor: one HTML file that needs nothing beside itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from importlib import metadata, resources
from string import Template

import numpy as np

from accuracy_from_weights.errors import AccuracyFromWeightsError
from accuracy_from_weights.evaluation.bands import Band, by_accuracy, by_epoch, by_p_value
from accuracy_from_weights.evaluation.crossvalidation import OURS, Evaluation, final_rows
from accuracy_from_weights.evaluation.inspection import LEVELS, Importance, Inspection, Strangers
from accuracy_from_weights.evaluation.interval_coverage import Coverage, coverage_by_level
from accuracy_from_weights.evaluation.report import figures, markup
from accuracy_from_weights.evaluation.scores import Scores
from accuracy_from_weights.io.atomic import replacing

_TITLE = "Accuracy from weights: how far to trust it"
_MOST_FINE_GROUPS = 12

_SCORES = (
    ("R²", "r2"),
    ("Kendall's τ", "tau"),
    ("τ over ceiling", "tau_over_ceiling"),
    ("mean absolute error", "mean_absolute_error"),
    ("coverage", "coverage"),
    ("interval's width", "width"),
)
_HOW_FITTED = (
    "The predictor and every baseline were fitted to some training runs and scored on others, in "
    "turn, so that checkpoints of one run never stand on both sides. No setting, no stopping "
    "round, no interval and no threshold was chosen on a scored run; the intervals and the family "
    "check come from the same fits as the estimates."
)
_HOW_GIVEN = (
    "A fitted predictor was given and scored on every network, as if it had seen none of them. "
    "Whether it had is not known here: where it was fitted to some, everything below flatters it."
)
_HOW_READ = (
    "The range under a score is its 95% bootstrap interval over training runs, since the "
    "checkpoints of one run resemble each other. Errors are in percentage points of accuracy. "
    "Kendall's τ is the τ-b of the ranking; networks whose measured accuracies are equal keep even "
    "a perfect ranking below 1, and the ceiling is what that perfect ranking would get."
)


def write_report(
    path: str | os.PathLike[str],
    evaluations: Sequence[Evaluation],
    inspections: Sequence[Inspection],
    *,
    zoo: str,
    fingerprint: str,
    given: str | None = None,
) -> None:
    """Write the page; the file appears whole or not at all.

    Parameters
    ----------
    path : str or path-like
    evaluations : sequence of Evaluation
        As `cross_validate` or `score_predictor` gives them.
    inspections : sequence of Inspection
        What an `Inspector` found in the same call, in the same order.
    zoo : str
        What the networks are called.
    fingerprint : str
        Of the zoo.
    given : str, optional
        Name of the predictor, where one was given rather than fitted here.

    Raises
    ------
    MissingDependencyError
        When matplotlib is not installed.
    AccuracyFromWeightsError
        When the file cannot be written.
    """
    page = render_report(evaluations, inspections, zoo=zoo, fingerprint=fingerprint, given=given)
    try:
        with replacing(path) as temporary:
            temporary.write_text(page, encoding="utf-8")
    except OSError as error:
        raise AccuracyFromWeightsError(
            f"Expected to write a report to {os.fspath(path)}. Received: {error.strerror}."
        ) from error


def render_report(
    evaluations: Sequence[Evaluation],
    inspections: Sequence[Inspection],
    *,
    zoo: str,
    fingerprint: str,
    given: str | None = None,
) -> str:
    """Give the page as text; parameters and errors as in `write_report`."""
    sections, links = [], []
    for k, (evaluation, found) in enumerate(zip(evaluations, inspections, strict=True)):
        links.append(f'<a href="#data-{k}">{escape(evaluation.dataset)}</a>')
        sections.append(_section(f"data-{k}", evaluation, found))
    template = resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    version = metadata.version("accuracy-from-weights")
    return Template(template).substitute(
        title=escape(_TITLE),
        subject=escape(
            f"Networks of {zoo}" + (f", estimated by {given}" if given is not None else "")
        ),
        navigation=f'<nav aria-label="Data sets"><p>{", ".join(links)}</p></nav>',
        protocol=_protocol(evaluations, given is not None),
        sections="\n".join(sections),
        origin=f"<p>Written by accuracy-from-weights {escape(version)}. Fingerprint of the "
        f"networks: <code>{escape(fingerprint)}</code></p>",
    )


def _protocol(evaluations: Sequence[Evaluation], given: bool) -> str:
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
    return "\n".join(
        [
            markup.paragraphs(_HOW_GIVEN if given else _HOW_FITTED, _HOW_READ),
            markup.table("What was scored", header, rows),
        ]
    )


def _section(anchor: str, evaluation: Evaluation, found: Inspection) -> str:
    final = np.zeros(len(found.truth), bool)
    final[final_rows(found.runs, found.steps)] = True
    coverages = coverage_by_level(found.truth, found.intervals, LEVELS, found.runs)
    accuracy_bands = by_accuracy(found.truth, found.errors)
    epoch_bands = by_epoch(found.steps, found.errors)
    family_bands = by_p_value(found.p_values, found.in_family, found.errors)
    name = evaluation.dataset
    return "\n".join(
        [
            f'<section aria-labelledby="{anchor}">',
            f'<h2 id="{anchor}">{escape(name)}</h2>',
            _summary(evaluation, found),
            "<h3>Estimate and truth</h3>",
            markup.figures([figures.scatter(found, final), figures.calibration(name, coverages)]),
            markup.folded("The coverages as numbers", _coverage_table(coverages)),
            "<h3>Beside simple baselines</h3>",
            _score_table("Final checkpoints, one a run", evaluation.final_checkpoints),
            markup.folded(
                "The same for all checkpoints",
                _score_table("All checkpoints", evaluation.all_checkpoints),
            ),
            "<h3>Where it errs</h3>",
            markup.figures(
                [
                    figures.error_bands(
                        name,
                        accuracy_bands,
                        "true accuracy",
                        "Errors by true accuracy: the median, the middle half and the middle nine "
                        "tenths. Above 0 the estimate is too high.",
                    ),
                    figures.error_bands(
                        name,
                        epoch_bands,
                        "epochs trained",
                        "The same by how long the networks had been trained.",
                    ),
                ]
            ),
            markup.folded(
                "The errors as numbers",
                _band_table("By true accuracy", accuracy_bands)
                + _band_table("By epochs trained", epoch_bands),
            ),
            "<h3>What the family check lets through</h3>",
            _family(name, found, family_bands),
            "<h3>Which features matter</h3>",
            _features(name, found),
            "</section>",
        ]
    )


def _summary(evaluation: Evaluation, found: Inspection) -> str:
    ours = next(s for s in evaluation.final_checkpoints if s.name == OURS)
    everywhere = next(s for s in evaluation.all_checkpoints if s.name == OURS)
    facts = [
        ("points off on average, final checkpoints", markup.points(ours.mean_absolute_error.value)),
        ("Kendall's τ over its ceiling, final", markup.number(ours.tau_over_ceiling.value)),
        ("R², final checkpoints", markup.number(ours.r2.value)),
    ]
    if everywhere.coverage is not None:
        held = f"{everywhere.coverage.value:.1%}"
        promised = f"{evaluation.nominal_coverage:.0%}"
        facts.append((f"of all truths in the {promised} interval", held))
    facts.append(("called outside the family", f"{1 - found.in_family.mean():.1%}"))
    return markup.tiles(facts)


def _score_table(caption: str, scores: Sequence[Scores]) -> str:
    rows = [[s.name, *(getattr(s, key) for _, key in _SCORES)] for s in scores]
    return markup.table(caption, ["", *(title for title, _ in _SCORES)], rows, OURS)


def _coverage_table(coverages: Sequence[Coverage]) -> str:
    rows = [
        [
            f"{c.stated:.0%}",
            f"{c.measured:.1%}",
            f"{c.low:.1%} to {c.high:.1%}",
            markup.points(c.width),
        ]
        for c in coverages
    ]
    header = ["stated", "held", "95% interval", "mean width (points)"]
    return markup.table("Coverage, each run weighing the same", header, rows)


def _band_table(caption: str, bands: Sequence[Band]) -> str:
    rows = [
        [
            band.label,
            f"{band.n_rows:,}",
            markup.points(band.mean_absolute_error),
            f"{100 * band.quantiles[2]:+.1f}",
            f"{100 * band.quantiles[0]:+.1f} to {100 * band.quantiles[-1]:+.1f}",
        ]
        for band in bands
    ]
    header = ["", "networks", "mean absolute error", "median error", "5% to 95% quantile"]
    return markup.table(f"{caption} (percentage points)", header, rows)


def _family(name: str, found: Inspection, bands: Sequence[Band]) -> str:
    outside = ~found.in_family
    text = (
        f"Of the networks scored here {outside.mean():.1%} are called unlike those fitted on. "
        "An estimate is given for them all the same. The picture shows whether the error grows "
        "with unlikeness, which is what the check is for."
    )
    errors = np.abs(found.errors)
    rows = [
        _family_row("these networks", len(errors), float(outside.mean()), *_means(errors, outside))
    ]
    rows += [_stranger_row(strangers) for strangers in found.strangers]
    header = ["", "networks", "outside", "error inside", "error outside"]
    caption = "Mean absolute error (percentage points) of networks inside and outside the family"
    strangers = (
        "Below: networks of the other data sets, asked of predictors that were fitted to none of "
        "them. What the check lets through there is judged by an error that it did not announce."
    )
    return "\n".join(
        [
            markup.paragraphs(text),
            markup.figures(
                [
                    figures.error_bands(
                        name,
                        bands,
                        "how usual the network is (family p-value)",
                        "Errors by the share of the zoo's own networks that are at least as "
                        "unusual.",
                    )
                ]
            ),
            markup.paragraphs(strangers) if found.strangers else "",
            markup.table(caption, header, rows),
        ]
    )


def _means(errors: np.ndarray, outside: np.ndarray) -> tuple[float, float]:
    inside_mean, outside_mean = (
        float(errors[part].mean()) if part.any() else float("nan") for part in (~outside, outside)
    )
    return inside_mean, outside_mean


def _family_row(name: str, n: int, share: float, inside: float, outside: float) -> list[str]:
    return [name, f"{n:,}", f"{share:.1%}", markup.points(inside), markup.points(outside)]


def _stranger_row(strangers: Strangers) -> list[str]:
    return _family_row(
        strangers.dataset,
        strangers.n_rows,
        strangers.share_outside,
        strangers.error_inside,
        strangers.error_outside,
    )


def _features(name: str, found: Inspection) -> str:
    fine = found.fine[:_MOST_FINE_GROUPS]
    text = (
        "Each group of features was shuffled among the scored networks, and the rise of the mean "
        "absolute error is drawn; the line shows the folds. Groups that tell the same story stand "
        "in for each other, so a short bar means that the rest can do without the group, not that "
        "the group says nothing."
    )
    pictures = [
        figures.importances(name, found.coarse, "Features by the part of the network."),
        figures.importances(
            name, fine, f"Features by what is measured: the first {len(fine)} of {len(found.fine)}."
        ),
    ]
    return "\n".join(
        [
            markup.paragraphs(text),
            markup.figures(pictures),
            markup.folded(
                "All groups as numbers",
                _importance_table("By part of the network", found.coarse)
                + _importance_table("By what is measured", found.fine),
            ),
        ]
    )


def _importance_table(caption: str, groups: Sequence[Importance]) -> str:
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
    return markup.table(f"{caption} (percentage points)", header, rows)
