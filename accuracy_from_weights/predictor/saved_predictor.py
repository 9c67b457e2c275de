"""An `AccuracyPredictor` as arrays and facts, and back."""

from __future__ import annotations

import os
from dataclasses import asdict
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import UnreadableFileError, number_between
from accuracy_from_weights.features.feature_sets import feature_names
from accuracy_from_weights.predictor import archive
from accuracy_from_weights.predictor.anchoring import Anchor
from accuracy_from_weights.predictor.expected_error import ExpectedError
from accuracy_from_weights.predictor.family import FamilyCheck
from accuracy_from_weights.predictor.forecasting import Forecaster
from accuracy_from_weights.predictor.intervals import LEVELS
from accuracy_from_weights.predictor.models.ensemble import Ensemble, Smooth
from accuracy_from_weights.predictor.models.forest import Forest
from accuracy_from_weights.predictor.models.kernel_machine import KernelMachine
from accuracy_from_weights.predictor.models.perceptron import Perceptron
from accuracy_from_weights.predictor.models.targets import GAP

_FORECAST = "forecast."
"""Before the names of what belongs to the forecast, which not every predictor has."""


def save(predictor: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted predictor to one file.

    Raises
    ------
    AccuracyFromWeightsError
        When the file cannot be written; an older file of that name is left as it was.
    """
    arrays: dict[str, NDArray[Any]] = {
        "untrained": predictor._untrained,
        "widths": predictor._widths,
        "widening": np.array(predictor._widening),
        "power": np.array(predictor._error.power),
    }
    parts = {
        **predictor._ensemble.models,
        "logarithm": predictor._error.logarithm,
        "family": predictor._family,
    }
    forecaster = predictor._forecaster
    if forecaster is not None:
        models = {**forecaster.ensemble.models, "logarithm": forecaster.error.logarithm}
        parts |= {_FORECAST + name: model for name, model in models.items()}
        arrays[_FORECAST + "widths"] = forecaster.widths
        arrays[_FORECAST + "power"] = np.array(forecaster.error.power)
    for name, part in parts.items():
        arrays |= {f"{name}.{key}": np.asarray(value) for key, value in vars(part).items()}
    facts = {
        "parameters": predictor.get_params(),
        "feature_names": list(predictor.feature_names_),
        "n_features": predictor.n_features_in_,
        "averaged": _averaged(predictor._ensemble),
        "forecast_averaged": None if forecaster is None else _averaged(forecaster.ensemble),
        "anchor": asdict(predictor.anchor_),
        "card": predictor.card_,
        "made_with": {
            name: metadata.version(name)
            for name in ("accuracy-from-weights", "numpy", "scikit-learn")
        },
    }
    archive.write(path, arrays, facts)


def restore(predictor: Any, path: str | os.PathLike[str]) -> None:
    """Give a fresh predictor the state that `save` wrote; no code of the file is run.

    Raises
    ------
    UnreadableFileError
        When the file is missing, damaged, no predictor, or of a later version.
    """
    arrays, facts = archive.read(path)
    try:
        _fill(predictor, arrays, facts)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise UnreadableFileError(
            f"Expected a whole predictor file. Received: {os.fspath(path)}, whose contents do "
            "not fit together. Make it again with `accuracy-from-weights retrain`."
        ) from error


def _averaged(ensemble: Ensemble) -> dict[str, list[Any]]:
    return {"shares": list(ensemble.shares), "targets": list(ensemble.targets)}


def _smooth(arrays: dict[str, NDArray[Any]]) -> Smooth:
    """Tell by their names which of the two models the arrays are."""
    return KernelMachine(**arrays) if "vectors" in arrays else Perceptron(**arrays)


def _fill(predictor: Any, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
    known = predictor.get_params()
    predictor.set_params(**{k: v for k, v in facts["parameters"].items() if k in known})
    number_between("coverage", predictor.coverage, 0.01, 0.999)

    def part(name: str) -> dict[str, NDArray[Any]]:
        prefix = f"{name}."
        return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

    def models(prefix: str = "", fact: str = "") -> tuple[Ensemble, ExpectedError]:
        # Version 2 knew shares alone, version 1 not even these.
        averaged = facts.get(fact + "averaged", {})
        shares = averaged.get("shares", facts.get(fact + "shares", (1, 1, 1)))
        ensemble = Ensemble(
            Forest(**part(prefix + "boosted")),
            Forest(**part(prefix + "randomised")),
            _smooth(part(prefix + "smooth")),
            tuple(map(float, shares)),
            tuple(map(str, averaged.get("targets", (GAP, GAP, GAP)))),
        )
        power = float(arrays.get(prefix + "power", np.array(1.0)))
        return ensemble, ExpectedError(Forest(**part(prefix + "logarithm")), power)

    ensemble, error = models()
    family = FamilyCheck(**part("family"))
    untrained, widths = arrays["untrained"], arrays["widths"]
    # Version 1 knew neither.
    widening = float(arrays.get("widening", np.array(1.0)))
    anchor = Anchor(**facts.get("anchor", {}))
    forecaster = None
    if _FORECAST + "widths" in arrays:
        forecaster = Forecaster(*models(_FORECAST, "forecast_"), arrays[_FORECAST + "widths"])
    n_features, names = int(facts["n_features"]), tuple(facts["feature_names"])
    fits = (
        untrained.shape == (3,)
        and bool(((untrained >= 0) & (untrained <= 1)).all())
        and widths.shape == LEVELS.shape
        and bool((widths >= 0).all())
        and 1 <= widening < np.inf
        and len(family.centre) == n_features
        and max(ensemble.n_features_needed, error.n_features_needed) <= n_features
        and len(names) in (0, n_features)
        and set(names) <= set(feature_names(predictor.features))
        and (forecaster is None or forecaster.fits(n_features))
    )
    if not fits:
        raise ValueError("parts of different predictors, or features that this release lacks")
    predictor._ensemble, predictor._error, predictor._family = ensemble, error, family
    predictor._untrained, predictor._widths, predictor._widening = untrained, widths, widening
    predictor.n_features_in_, predictor.feature_names_ = n_features, names
    predictor.anchor_, predictor._forecaster = anchor, forecaster
    predictor.card_ = dict(facts["card"], made_with=facts["made_with"])
