"""Estimates of the models that MLflow's past runs have logged, written back to those runs."""

from __future__ import annotations

import math
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities import Metric, ViewType
from mlflow.exceptions import MlflowException

from accuracy_from_weights.errors import (
    AccuracyFromWeightsError,
    InvalidArgumentError,
    UnreadableFileError,
    first_line,
)
from accuracy_from_weights.io.logged_names import DEFAULT_NAME, SUFFIXES

if TYPE_CHECKING:
    from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
    from accuracy_from_weights.predictor.estimate import Estimate

# Where a model's folder holds several of these, the first kind is its weights.
_SUFFIXES = (".keras", ".pt2", ".safetensors", ".h5", ".hdf5", ".pt", ".pth", ".ckpt", ".npz")


@dataclass(frozen=True)
class Annotation:
    """A logged model, and what became of it.

    Attributes
    ----------
    run_id, run_name
        The run that logged it, and to which the metrics belong.
    model
        The name under which it was logged.
    step
        The step that it was logged at; 0 where MLflow knows none.
    uri
        Where its artifacts are.
    model_id
        None for a file among a run's artifacts.
    estimate
        None where the model could not be read.
    error
        Why it could not.
    written
        Whether metrics were written: False where the run has these numbers already.
    """

    run_id: str
    run_name: str
    model: str
    step: int
    uri: str
    model_id: str | None
    estimate: Estimate | None = None
    error: AccuracyFromWeightsError | None = None
    written: bool = False


def annotate(
    experiment: str,
    predictor: AccuracyPredictor,
    tracking_uri: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Annotation]:
    """Estimate every model that an experiment's runs have logged, and write it to the runs.

    Of a run without a logged model, the state dicts and files of weights among its artifacts are
    estimated. Where there are several, the last number in a file's name is its step.

    A run gains the metrics ``accuracy_from_weights``, ``_low``, ``_high`` (fractions in [0, 1]) and
    ``_in_family`` (0 or 1) at the step of its model, and nothing else of it changes. Where they
    stand there already with these values, nothing is written. No code that a model carries is run.

    Parameters
    ----------
    experiment
        The experiment's name. Its deleted runs are passed over.
    predictor
        Reads weights alone.
    tracking_uri
        Where MLflow keeps its runs. Defaults to MLflow's own choice.
    progress
        Called with the models done and their number in all.

    Returns
    -------
    An `Annotation` for each model; an unreadable one among them holds the error.

    Raises
    ------
    InvalidArgumentError
        When there is no such experiment.
    AccuracyFromWeightsError
        When the store of MLflow cannot be used.
    """
    client = mlflow.MlflowClient(tracking_uri)
    try:
        models = _models(client, _experiment_id(client, experiment))
        done = []
        for model in models:
            done.append(_annotate_one(client, model, predictor))
            if progress is not None:
                progress(len(done), len(models))
    except MlflowException as error:
        raise AccuracyFromWeightsError(
            f"The MLflow store {client.tracking_uri} cannot be used ({first_line(error)}); check "
            "its address, and that it can be read and written."
        ) from error
    return done


def _experiment_id(client: mlflow.MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        names = [one.name for one in client.search_experiments(max_results=10)]
        raise InvalidArgumentError(
            f"There is no experiment {name!r} in {client.tracking_uri}; choose one of "
            f"{', '.join(map(repr, names))}."
        )
    return str(found.experiment_id)


def _models(client: mlflow.MlflowClient, experiment_id: str) -> list[Annotation]:
    """Return all logged models of an experiment's runs, in the order of the runs."""
    logged: dict[str, list[Any]] = {}
    for model in _pages(client.search_logged_models, experiment_ids=[experiment_id]):
        logged.setdefault(model.source_run_id, []).append(model)
    models = []
    runs = _pages(
        client.search_runs,
        experiment_ids=[experiment_id],
        run_view_type=ViewType.ACTIVE_ONLY,
        order_by=["attributes.start_time ASC"],
    )
    for run in runs:
        run_id = run.info.run_id
        of_run = partial(Annotation, run_id, run.info.run_name or run_id)
        steps = {output.model_id: output.step for output in run.outputs.model_outputs}
        own = sorted(logged.get(run_id, ()), key=lambda model: model.creation_timestamp)
        for model in own:
            step = steps.get(model.model_id) or 0
            models.append(of_run(model.name, step, model.artifact_location, model.model_id))
        if not own:
            names = list(_weights_among_artifacts(client, run_id))
            for name in names:
                step = _step_in(name) if len(names) > 1 else 0
                models.append(of_run(name, step, f"{run.info.artifact_uri}/{name}", None))
    return models


def _weights_among_artifacts(
    client: mlflow.MlflowClient, run_id: str, folder: str | None = None, depth: int = 3
) -> Iterator[str]:
    """Yield models and files of weights that are artifacts of a run.

    So does MLflow 2 keep models, and every MLflow what ``log_state_dict`` and ``log_artifact``
    write.
    """
    entries = client.list_artifacts(run_id, folder)
    if folder is not None and any(entry.path == f"{folder}/MLmodel" for entry in entries):
        yield folder
        return
    for entry in entries:
        if entry.is_dir and depth > 0:
            yield from _weights_among_artifacts(client, run_id, entry.path, depth - 1)
        elif not entry.is_dir and Path(entry.path).suffix.lower() in _SUFFIXES:
            yield entry.path


def _step_in(name: str) -> int:
    """Return the last number in a file's name, such as 3 for ``epoch=3.ckpt``; 0 without one."""
    numbers = re.findall(r"\d+", Path(name).stem)
    return int(numbers[-1]) if numbers else 0


def _pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    page = search(**arguments)
    yield from page
    while page.token:
        page = search(**arguments, page_token=page.token)
        yield from page


def _annotate_one(
    client: mlflow.MlflowClient, model: Annotation, predictor: AccuracyPredictor
) -> Annotation:
    try:
        estimate = _estimate(client, model, predictor)
    except AccuracyFromWeightsError as error:
        return replace(model, error=error)
    numbers = (estimate.accuracy, estimate.low, estimate.high, float(estimate.in_family))
    keys = (DEFAULT_NAME + suffix for suffix in SUFFIXES)
    values = dict(zip(keys, numbers, strict=True))
    if all(_stands(client, model, key, value) for key, value in values.items()):
        return replace(model, estimate=estimate)
    now = int(time.time() * 1000)
    # All at once: a kill leaves the four numbers or none.
    client.log_batch(
        model.run_id,
        metrics=[
            Metric(key, value, now, model.step, model_id=model.model_id)
            for key, value in values.items()
        ],
    )
    return replace(model, estimate=estimate, written=True)


def _stands(client: mlflow.MlflowClient, model: Annotation, key: str, value: float) -> bool:
    """Return whether the newest number of this model under this key is this one."""
    if model.model_id is not None:
        entries = client.get_logged_model(model.model_id).metrics or []
    else:
        entries = client.get_metric_history(model.run_id, key)
    at_step = [m for m in entries if m.key == key and m.step == model.step]
    if not at_step:
        return False
    newest = max(at_step, key=lambda metric: metric.timestamp)
    return math.isclose(newest.value, value, rel_tol=0, abs_tol=1e-9)


def _estimate(
    client: mlflow.MlflowClient, model: Annotation, predictor: AccuracyPredictor
) -> Estimate:
    from accuracy_from_weights.features.describing import describe_network

    # A copy even of a local model, so that whatever is done to it happens to the copy.
    with tempfile.TemporaryDirectory() as folder:
        try:
            place = mlflow.artifacts.download_artifacts(
                artifact_uri=model.uri, dst_path=folder, tracking_uri=client.tracking_uri
            )
        except (MlflowException, OSError) as error:
            raise UnreadableFileError(
                f"The artifacts of model {model.model!r} of run {model.run_name!r} could not be "
                f"fetched from {model.uri} ({first_line(error)})."
            ) from error
        try:
            row = describe_network(_weights_file(Path(place), model))
        except AccuracyFromWeightsError as error:
            # The copy's path says nothing to a user.
            raise type(error)(str(error).replace(place, model.uri)) from error
    (estimate,) = predictor.judge(row)
    return estimate


def _weights_file(folder: Path, model: Annotation) -> Path:
    if folder.is_file():
        return folder
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for suffix in _SUFFIXES:
        found = [path for path in files if path.suffix.lower() == suffix]
        if len(found) == 1:
            return found[0]
        if found:
            raise UnreadableFileError(
                f"Model {model.model!r} of run {model.run_name!r} has {len(found)} {suffix} files, "
                "and weights in several files cannot be read. Log it as one file."
            )
    names = ", ".join(str(path.relative_to(folder)) for path in files[:6])
    raise UnreadableFileError(
        f"Model {model.model!r} of run {model.run_name!r} has no file of weights "
        f"({', '.join(_SUFFIXES)}), but {names or 'no file at all'}. Log its weights as one."
    )
