"""Describe all checkpoints of a zoo, piece by piece, in parallel."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import joblib
import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import needs
from accuracy_from_weights.features.description import FEATURE_NAMES, describe
from accuracy_from_weights.features.paper import paper_statistics
from accuracy_from_weights.features.probes.answers import PROBE_NAMES
from accuracy_from_weights.zoo.rebuilding.stored_networks import is_paper_architecture
from accuracy_from_weights.zoo.recipes.recipe import Task
from accuracy_from_weights.zoo.sources import Piece, Rows, ZooSource

ExamplesOf = Callable[[Task], tuple[NDArray[np.generic], NDArray[np.int64]]]
"""Returns the training examples of a network's task, inputs and classes."""


@dataclass(frozen=True, eq=False)
class _Block:
    """Features of some rows; None for kinds of features that the block lacks."""

    rows: Rows
    features: NDArray[np.float32] | None = None
    paper_statistics: NDArray[np.float32] | None = None
    probes: NDArray[np.float32] | None = None
    sample: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Described:
    """Features of a zoo's n checkpoints.

    Attributes
    ----------
    features : ndarray of shape (n, d), float32
    feature_names : tuple of str, length d
    paper_statistics : ndarray of shape (n, 56), float32, or None
        Rows of NaN where the architecture is not the paper's; None when none is.
    probes : ndarray of shape (n, len(PROBE_NAMES)), float32, or None
        Answers to synthetic inputs; rows of NaN where it is not known how to run the network, None
        when they were not asked for.
    sample : ndarray of shape (n, len(SAMPLE_NAMES)), float32, or None
        Answers on training examples, as `probes`.
    fingerprint : str
        SHA-256 over metrics and weights.
    """

    features: NDArray[np.float32]
    feature_names: tuple[str, ...]
    paper_statistics: NDArray[np.float32] | None
    probes: NDArray[np.float32] | None
    sample: NDArray[np.float32] | None
    fingerprint: str


def describe_pieces(
    source: ZooSource,
    n_jobs: int = 1,
    count: Callable[[int], None] | None = None,
    *,
    probes: bool = False,
    examples: ExamplesOf | None = None,
) -> Described:
    """Describe every checkpoint of a zoo.

    Only features are gathered here; weights are in memory one piece a process.

    Parameters
    ----------
    source : ZooSource
    n_jobs : int, default 1
        Processes; -1 for one a core. The result does not depend on it.
    count : callable, optional
        Called with the number of checkpoints of each piece that is done.
    probes : bool, default False
        Whether to run the networks, too, on synthetic inputs.
    examples : callable, optional
        Returns inputs and classes that the networks of a task were trained on; asks each network
        about some of them.

    Raises
    ------
    MissingDependencyError
        When probes are asked for and PyTorch is not installed.
    """
    if probes or examples is not None:
        _check_torch()
    n = len(source.metrics)
    columns: dict[str, NDArray[np.float32] | None] = {
        "features": np.full((n, len(FEATURE_NAMES)), np.nan, np.float32),
        "paper_statistics": None,
        "probes": np.full((n, len(PROBE_NAMES)), np.nan, np.float32) if probes else None,
        "sample": None,
    }
    fingerprint = hashlib.sha256(source.metrics.digest.encode())
    if len(source.pieces) == 1:
        n_jobs = 1
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator", batch_size=1)
    tasks = (joblib.delayed(_describe_piece)(piece, probes, examples) for piece in source.pieces)
    with contextlib.closing(parallel(tasks)) as results:
        for blocks, digest in results:
            fingerprint.update(digest)
            for block in blocks:
                _put(columns, block, n)
                if block.features is not None and count is not None:
                    count(len(block.rows))
    features = columns["features"]
    assert features is not None
    return Described(
        features,
        FEATURE_NAMES,
        columns["paper_statistics"],
        columns["probes"],
        columns["sample"],
        fingerprint.hexdigest(),
    )


def _put(columns: dict[str, NDArray[np.float32] | None], block: _Block, n: int) -> None:
    """Write a block into the columns, which are made on first use."""
    for name in columns:
        values: NDArray[np.float32] | None = getattr(block, name)
        if values is None:
            continue
        column = columns[name]
        if column is None:
            column = columns[name] = np.full((n, values.shape[1]), np.nan, np.float32)
        column[block.rows] = values


def _describe_piece(
    piece: Piece, with_probes: bool, examples: ExamplesOf | None
) -> tuple[list[_Block], bytes]:
    blocks: list[_Block] = []
    for rows, stack in piece.stacks():
        statistics = paper_statistics(stack) if is_paper_architecture(stack) else None
        blocks.append(_Block(rows, describe(stack), statistics))
    if with_probes:
        from accuracy_from_weights.zoo.rebuilding.torch_probing import probe_networks

        blocks.extend(
            _Block(networks.rows, probes=probe_networks(networks)) for networks in piece.runnable()
        )
    if examples is not None:
        from accuracy_from_weights.zoo.rebuilding.torch_probing import sample_networks

        blocks.extend(
            _Block(networks.rows, sample=sample_networks(networks, *examples(networks.task)))
            for networks in piece.runnable()
            if networks.task is not None
        )
    return blocks, piece.digest()


def _check_torch() -> None:
    with needs("Running a zoo's networks needs PyTorch", extra="torch"):
        import torch  # noqa: F401
