"""Write an HTML report about a predictor: one file that needs no other."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np

from accuracy_from_weights.errors import AccuracyFromWeightsError, needs
from accuracy_from_weights.evaluation.bands import by_accuracy, by_epoch, by_p_value
from accuracy_from_weights.evaluation.crossvalidation import OURS, Evaluation
from accuracy_from_weights.evaluation.inspection import LEVELS, FamilyErrors, Inspection
from accuracy_from_weights.evaluation.interval_coverage import coverage_by_level
from accuracy_from_weights.evaluation.report import figures
from accuracy_from_weights.io.atomic import replacing
from accuracy_from_weights.predictor.folds import last_rows

_MOST_FINE_GROUPS = 12


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
            zoo=zoo,
            given=given,
            our_name=OURS,
            sections=[_section(*pair) for pair in zip(evaluations, inspections, strict=True)],
            version=metadata.version("accuracy-from-weights"),
            fingerprint=fingerprint,
        )
    )


def load_template() -> Any:
    """Return the report's Jinja2 template, which escapes all text and holds all tables.

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
    environment.filters |= {"number": _number, "points": _points}
    return environment.get_template("report.html.j2")


def _section(evaluation: Evaluation, found: Inspection) -> dict[str, Any]:
    """Return what the template shows of one data set."""
    name, fine = evaluation.dataset, found.fine[:_MOST_FINE_GROUPS]
    coverages = coverage_by_level(found.truth, found.intervals, LEVELS, found.runs)
    accuracy_bands = by_accuracy(found.truth, found.errors)
    epoch_bands = by_epoch(found.steps, found.errors)
    family_bands = by_p_value(found.p_values, found.in_family, found.errors)
    family_axis = "how usual the network is (family p-value)"
    return {
        "evaluation": evaluation,
        "found": found,
        "own_family": FamilyErrors.of("these networks", np.abs(found.errors), found.in_family),
        "coverages": coverages,
        "accuracy_bands": accuracy_bands,
        "epoch_bands": epoch_bands,
        "n_fine": len(fine),
        "scatter": figures.scatter(found, last_rows(found.runs, found.steps)),
        "calibration": figures.calibration(name, coverages),
        "errors_by_accuracy": figures.error_bands(name, accuracy_bands, "true accuracy"),
        "errors_by_epoch": figures.error_bands(name, epoch_bands, "epochs trained"),
        "errors_by_p_value": figures.error_bands(name, family_bands, family_axis),
        "coarse": figures.importances(name, found.coarse),
        "fine": figures.importances(name, fine),
    }


def _number(value: float, form: str = ".3f") -> str:
    """Return a number as text, a dash where it is not defined."""
    return f"{value:{form}}" if math.isfinite(value) else "\N{EN DASH}"


def _points(value: float, form: str = ".1f") -> str:
    """Return a difference of accuracies in percentage points."""
    return _number(100 * value, form)
