"""Descriptions of networks: the only road from a model or a file to the row that a predictor reads.

`describe_network` describes one network by any feature set; `describe_many` describes many files of
weights, networks of one architecture together.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from accuracy_from_weights.errors import AccuracyFromWeightsError, InvalidArgumentError
from accuracy_from_weights.features.description import describe
from accuracy_from_weights.features.feature_sets import check_feature_set
from accuracy_from_weights.features.log_columns import log_row, read_log
from accuracy_from_weights.features.task import as_classifier, check_task, declared_task
from accuracy_from_weights.weights import (
    NetworkWeights,
    inner_model,
    read_weights,
    stack_networks,
)
from accuracy_from_weights.weights.device_arrays import SMALL

if TYPE_CHECKING:
    from accuracy_from_weights.features.input_spec import InputSpec
    from accuracy_from_weights.features.training_sample import TrainingSample

Row = NDArray[np.float32]

_PORTION = 32
"""Files that one process describes at a time: networks alike go faster together."""


def describe_network(
    source: Any,
    feature_set: str = "weights",
    *,
    input_shape: Sequence[int] | InputSpec | None = None,
    log: Mapping[str, float] | None = None,
    sample: TrainingSample | tuple[Any, Any] | None = None,
    part: str | None = None,
    task: str | None = None,
) -> Row:
    """Describe one network by the numbers of a feature set.

    Parameters
    ----------
    source : model, state dict, mapping of arrays, or path
        Whatever `read_weights` takes; with probes, a model that can be called, or a ``.keras``
        file, which Keras then loads.
    feature_set : str, default "weights"
        One of `feature_sets.FEATURE_SETS`.
    input_shape : sequence of int or InputSpec, optional
        Shape of one input, without the batch axis. Needed for probes where neither the model nor
        a sample tells it; see `probes.probe`.
    log : mapping of str to float, optional
        What the training loop reported of its last epoch: ``accuracy``, a fraction, ``loss``, in
        nats, and ``samples``, the number of training samples; see `log_columns.read_log`. With a
        sample, accuracy and loss that are not given are those of the network on the sample.
    sample : TrainingSample or (x, y), optional
        Examples that the network is trained on, a few hundred; see
        `training_sample.describe_sample`.
    part : str, optional
        Which of several networks in the source, as in `read_weights`.
    task : {"binary", "multiclass"}, optional
        What the network was trained for, where neither the model nor its shapes tell; see
        `task.declared_task`. A network of one output needs it.

    Returns
    -------
    ndarray of shape (1, n_features + 2), float32
        Columns as `feature_sets.feature_names` names them, and `feature_sets.GRAPH_NAMES`. NaN
        for what the log lacks; a network whose weights hold NaN or infinity is NaN in all columns
        of its weights.

    Raises
    ------
    InvalidArgumentError
        When there is no such feature set, the sample is needed and missing, or else the log, its
        accuracy is no fraction, or its number of samples is below 1.
    UnsupportedModelError, UnreadableFileError
        As `read_weights` and `probe`, and where the network is no classifier.

    Examples
    --------
    >>> row = describe_network(model, "weights+probes", input_shape=(3, 32, 32))
    >>> (estimate,) = load_predictor(features="weights+probes").judge(row)
    """
    check_feature_set(feature_set)
    source, part = inner_model(source, part)
    task = check_task(task) or declared_task(source)
    network = as_classifier(read_weights(source, part), task)
    parts = [describe(network)]
    answers = []
    if "probes" in feature_set:
        from accuracy_from_weights.features.probes import probe, runnable

        source = runnable(source)
    if "sample" in feature_set:
        from accuracy_from_weights.features.training_sample import (
            TrainingSample,
            describe_sample,
            take_sample,
        )

        if sample is None:
            raise InvalidArgumentError(
                "sample=None, but this predictor reads answers on training examples; pass "
                "sample=(x, y) with a few hundred of them, or use a predictor with "
                "features='weights+probes+log'."
            )
        if not isinstance(sample, TrainingSample):
            sample = take_sample(source, *sample)
        input_shape = sample.spec if input_shape is None else input_shape
        row, measured = describe_sample(source, sample)
        answers.append(row[None])
        # Rather what a loop reports: it is of all the data, and not of some hundred examples.
        log = measured | {k: v for k, v in read_log(log or {}).items() if not math.isnan(v)}
    if "probes" in feature_set:
        parts.append(probe(source, input_shape)[None])
    if "log" in feature_set:
        parts.append(log_row(log))
    return np.concatenate([*parts, *answers, _graph_row(network)[None]], axis=1)


def describe_many(
    files: Sequence[str | os.PathLike[str]],
    *,
    device: str = "cpu",
    n_jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
    part: str | None = None,
    task: str | None = None,
) -> list[Row | AccuracyFromWeightsError]:
    """Describe the weights in many files; a file that cannot be read does not stop the others.

    Parameters
    ----------
    files : sequence of path
    device : str, default "cpu"
        Where PyTorch describes large layers, such as "cuda".
    n_jobs : int, default 1
        Number of processes; -1 for one a core.
    progress : callable, optional
        Called with the number of files done and their number in all.
    part : str, optional
        Which of several networks in each file, as in `read_weights`.
    task : {"binary", "multiclass"}, optional
        As in `describe_network`.

    Returns
    -------
    list of ndarray of shape (n_features + 2,) or AccuracyFromWeightsError
        For each file its row of the feature set "weights", as `describe_network` returns it, or
        the error that says why there is none.
    """
    import joblib

    described: list[Row | AccuracyFromWeightsError] = []
    portions = (files[start : start + _PORTION] for start in range(0, len(files), _PORTION))
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator", batch_size=1)
    for rows in parallel(
        joblib.delayed(_describe_portion)(some, device, part, check_task(task)) for some in portions
    ):
        described += rows
        if progress is not None:
            progress(len(described), len(files))
    return described


# With more threads sums are added in another order, and an estimate would depend on `n_jobs`.
@threadpool_limits.wrap(limits=1)
def _describe_portion(
    files: Sequence[str | os.PathLike[str]], device: str, part: str | None, task: str | None
) -> list[Row | AccuracyFromWeightsError]:
    rows: dict[int, Row | AccuracyFromWeightsError] = {}
    alike: dict[tuple[Any, ...], dict[int, NetworkWeights]] = {}
    for k, file in enumerate(files):
        try:
            network = as_classifier(read_weights(file, part), task or declared_task(file))
        except AccuracyFromWeightsError as error:
            rows[k] = error
            continue
        if network.n_parameters > SMALL:
            # Described alone: large networks gain nothing from company, and would fill the memory.
            rows[k] = np.append(describe(_on_device(network, device))[0], _graph_row(network))
        else:
            alike.setdefault(network.architecture, {})[k] = network
    for networks in alike.values():
        described = describe(stack_networks([*networks.values()]))
        for (k, network), row in zip(networks.items(), described, strict=True):
            rows[k] = np.append(row, _graph_row(network))
    return [rows[k] for k in range(len(files))]


def _graph_row(network: NetworkWeights) -> Row:
    return np.array([network.is_chain, network.is_rectified], np.float32)


def _on_device(network: NetworkWeights, device: str) -> NetworkWeights:
    if device == "cpu":
        return network
    from accuracy_from_weights.weights.device_arrays import on_device

    return on_device(network, device)
