"""Describe all checkpoints of a zoo, piece by piece, in parallel."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from accuracy_from_weights.errors import needs
from accuracy_from_weights.features.description import describe
from accuracy_from_weights.features.paper import paper_statistics
from accuracy_from_weights.zoo.rebuilding.stored_networks import is_paper_architecture
from accuracy_from_weights.zoo.recipes.recipe import Task
from accuracy_from_weights.zoo.sources import Piece, Rows, ZooSource

ExamplesOf = Callable[[Task], tuple[NDArray[np.generic], NDArray[np.int64]]]
"""Returns the training examples of a network's task, inputs and classes."""


Block = tuple[str, Rows, NDArray[np.float32]]
"""Kind of features, rows of the zoo, and their features."""


def describe_pieces(
    source: ZooSource,
    kept: NDArray[np.bool_],
    n_jobs: int = 1,
    count: Callable[[int], None] | None = None,
    *,
    probes: bool = False,
    examples: ExamplesOf | None = None,
) -> dict[str, Any]:
    """Describe checkpoints of a zoo.

    Only features are gathered here; weights are in memory one piece a process, and the result does
    not depend on the number of processes.

    Parameters
    ----------
    source : ZooSource
        Of n checkpoints.
    kept : ndarray of bool, shape (n,)
        Which checkpoints to describe; rows of NaN stand for others.
    n_jobs : int, default 1
    count : callable, optional
        Called with the number of checkpoints of each piece that are described.
    probes, examples
        As of `reading.read_zoo`.

    Returns
    -------
    dict
        By the names of `table.ZooTable`: ``features``, ``paper_statistics``, ``probes`` and
        ``sample``, matrices with a row for each checkpoint (rows of NaN where a network is not the
        paper's or it is not known how to run it, None where there is no other row), and
        ``fingerprint``, the SHA-256 over metrics and weights.
    """
    if probes or examples is not None:
        with needs("Running a zoo's networks needs PyTorch", extra="torch"):
            import torch  # noqa: F401
    names = ("features", "paper_statistics", "probes", "sample")
    columns: dict[str, Any] = dict.fromkeys(names)
    fingerprint = hashlib.sha256(source.metrics.digest.encode())
    if len(source.pieces) == 1:
        n_jobs = 1
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator", batch_size=1)
    tasks = (
        joblib.delayed(_describe_piece)(piece, kept, probes, examples) for piece in source.pieces
    )
    with contextlib.closing(parallel(tasks)) as results:
        for blocks, digest in results:
            fingerprint.update(digest)
            for name, rows, values in blocks:
                if columns[name] is None:
                    shape = (len(source.metrics), values.shape[1])
                    columns[name] = np.full(shape, np.nan, np.float32)
                columns[name][rows] = values
                if name == "features" and count is not None:
                    count(int(kept[rows].sum()))
    return {**columns, "fingerprint": fingerprint.hexdigest()}


# With more threads sums are added in another order, and features would depend on `n_jobs`.
@threadpool_limits.wrap(limits=1)
def _describe_piece(
    piece: Piece, kept: NDArray[np.bool_], with_probes: bool, examples: ExamplesOf | None
) -> tuple[list[Block], bytes]:
    blocks: list[Block] = []
    for rows, stack in piece.stacks(kept):
        blocks.append(("features", rows, describe(stack)))
        if is_paper_architecture(stack):
            blocks.append(("paper_statistics", rows, paper_statistics(stack)))
    if with_probes or examples is not None:
        from accuracy_from_weights.zoo.rebuilding.torch_probing import (
            probe_networks,
            sample_networks,
        )

        for runnable in piece.runnable():
            networks = runnable.at(kept[runnable.rows])
            if not len(networks.rows):
                continue
            if with_probes:
                blocks.append(("probes", networks.rows, probe_networks(networks)))
            if examples is not None and networks.task is not None:
                answers = sample_networks(networks, *examples(networks.task))
                blocks.append(("sample", networks.rows, answers))
    return blocks, piece.digest()
