"""Predictor files: a `FittedState` and the settings of its fit, written and read without trust.

The file is a zip of ``.npy`` members (numpy's ``.npz``), one of them a JSON text. It runs no code
when it is read, is tied to no release of any library, and can be opened without this package.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import AccuracyFromWeightsError, UnreadableFileError
from accuracy_from_weights.io.archives import DamagedArchiveError, open_archive
from accuracy_from_weights.io.atomic import replacing
from accuracy_from_weights.predictor.anchoring import Anchor
from accuracy_from_weights.predictor.expected_error import ExpectedError
from accuracy_from_weights.predictor.family import FamilyCheck
from accuracy_from_weights.predictor.fitted_state import FittedState
from accuracy_from_weights.predictor.forecasting import Forecaster
from accuracy_from_weights.predictor.models.ensemble import Ensemble
from accuracy_from_weights.predictor.models.forest import Forest
from accuracy_from_weights.predictor.models.kernel_machine import KernelMachine
from accuracy_from_weights.predictor.models.perceptron import Perceptron

Arrays = dict[str, NDArray[Any]]

FORMAT = "accuracy-from-weights predictor"
FORMAT_VERSION = 1
_FACTS = "facts"
_FORECAST = "forecast."
"""Before the names of what belongs to the forecast, which not every predictor has."""
_BASE = "base."
"""Before the names of what belongs to the predictor whose estimates are corrected."""
_MAKE_ANEW = "create one with `accuracy-from-weights retrain`"


def write_predictor(
    path: str | os.PathLike[str], state: FittedState, settings: Mapping[str, Any]
) -> None:
    """Write a fitted predictor to one file, which appears whole or not at all.

    The settings are the estimator's parameters, values that JSON can hold.

    Raises
    ------
    AccuracyFromWeightsError
        When the file cannot be written; an older file of that name is left as it was.
    """
    arrays, facts = _parts_of(state)
    packages = ("accuracy-from-weights", "numpy", "scikit-learn")
    page = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "settings": dict(settings),
        "made_with": {name: metadata.version(name) for name in packages},
        **facts,
    }
    text = np.frombuffer(json.dumps(page, allow_nan=False).encode(), np.uint8)
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **{_FACTS: text}, **arrays)  # type: ignore[arg-type]  # numpy types the keywords as its own options
    except OSError as error:
        raise AccuracyFromWeightsError(
            f"The predictor could not be written to {os.fspath(path)} ({error.strerror}); choose a "
            "folder that exists and can be written to."
        ) from error


def read_predictor(path: str | os.PathLike[str]) -> tuple[FittedState, dict[str, Any]]:
    """Read state and settings, unchecked, that `write_predictor` wrote; no code of the file is run.

    Raises
    ------
    UnreadableFileError
        When the file is missing, damaged, no predictor, or of another format version.
    """
    name = os.fspath(path)
    if not Path(name).is_file():
        raise UnreadableFileError(f"The predictor file {name} does not exist, or is no file.")
    try:
        with open_archive(name) as archive:
            facts = archive.json(_FACTS)
            arrays = {key: archive[key] for key in archive.names if key != _FACTS}
    except DamagedArchiveError as error:
        raise UnreadableFileError(
            f"{name} is not a predictor file ({error}); {_MAKE_ANEW}."
        ) from error
    if facts.get("format") != FORMAT:
        raise UnreadableFileError(f"{name} is not a predictor file; {_MAKE_ANEW}.")
    if facts.get("format_version") != FORMAT_VERSION:
        raise UnreadableFileError(
            f"{name} is a predictor file of version {facts.get('format_version')!r}, and this "
            f"release reads version {FORMAT_VERSION}; install the release that wrote it, or "
            f"{_MAKE_ANEW}."
        )
    try:
        state = _state_of(arrays, facts)
        return replace(state, card={**state.card, "made_with": facts["made_with"]}), dict(
            facts["settings"]
        )
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise damaged(path) from error


def damaged(path: str | os.PathLike[str]) -> UnreadableFileError:
    """Return the error for a predictor file whose contents do not fit together."""
    return UnreadableFileError(
        f"{os.fspath(path)} is a damaged predictor file: its contents do not fit together; "
        f"{_MAKE_ANEW}."
    )


def _parts_of(state: FittedState) -> tuple[Arrays, dict[str, Any]]:
    arrays: Arrays = {
        "untrained": state.untrained,
        "widths": state.widths,
        "widening": np.array(state.widening),
        **_fields("family.", state.family),
        **_model_arrays("", state.ensemble, state.error),
    }
    forecaster = state.forecaster
    if forecaster is not None:
        arrays[_FORECAST + "widths"] = forecaster.widths
        arrays |= _model_arrays(_FORECAST, forecaster.ensemble, forecaster.error)
    facts = {
        "feature_names": list(state.names),
        "n_features": state.n_features,
        "averaged": _averaged(state.ensemble),
        "forecast_averaged": None if forecaster is None else _averaged(forecaster.ensemble),
        "anchor": asdict(state.anchor),
        "card": state.card,
        "trust": state.trust,
    }
    if state.base is not None:
        base_arrays, facts["base"] = _parts_of(state.base)
        arrays |= {_BASE + name: array for name, array in base_arrays.items()}
    return arrays, facts


def _fields(prefix: str, part: object) -> Arrays:
    return {prefix + name: np.asarray(value) for name, value in vars(part).items()}


def _model_arrays(prefix: str, ensemble: Ensemble, error: ExpectedError) -> Arrays:
    arrays = {prefix + "power": np.array(error.power)}
    for name, model in {**ensemble.models, "logarithm": error.logarithm}.items():
        arrays |= _fields(f"{prefix}{name}.", model)
    return arrays


def _averaged(ensemble: Ensemble) -> dict[str, list[Any]]:
    return {"shares": list(ensemble.shares), "targets": list(ensemble.targets)}


def _state_of(arrays: Arrays, facts: dict[str, Any]) -> FittedState:
    forecaster = None
    if _FORECAST + "widths" in arrays:
        ensemble, error = _models(arrays, _FORECAST, facts["forecast_averaged"])
        forecaster = Forecaster(ensemble, error, arrays[_FORECAST + "widths"])
    ensemble, error = _models(arrays, "", facts["averaged"])
    return FittedState(
        names=tuple(map(str, facts["feature_names"])),
        n_features=int(facts["n_features"]),
        ensemble=ensemble,
        error=error,
        widths=arrays["widths"],
        widening=float(arrays["widening"]),
        family=FamilyCheck(**_under(arrays, "family.")),
        untrained=arrays["untrained"],
        anchor=Anchor(**facts["anchor"]),
        forecaster=forecaster,
        card=dict(facts["card"]),
        base=_state_of(_under(arrays, _BASE), facts["base"]) if "base" in facts else None,
        trust=float(facts["trust"]),
    )


def _under(arrays: Arrays, prefix: str) -> Arrays:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _models(
    arrays: Arrays, prefix: str, averaged: Mapping[str, Any]
) -> tuple[Ensemble, ExpectedError]:
    smooth = _under(arrays, prefix + "smooth.")
    ensemble = Ensemble(
        Forest(**_under(arrays, prefix + "boosted.")),
        Forest(**_under(arrays, prefix + "randomised.")),
        KernelMachine(**smooth) if "vectors" in smooth else Perceptron(**smooth),
        tuple(map(float, averaged["shares"])),
        tuple(map(str, averaged["targets"])),
    )
    logarithm = Forest(**_under(arrays, prefix + "logarithm."))
    return ensemble, ExpectedError(logarithm, float(arrays[prefix + "power"]))
