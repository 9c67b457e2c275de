"""Describe the weights of a whole zoo, piece by piece, in as many processes as wanted."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import joblib
import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features.description import FEATURE_NAMES, describe
from accuracy_from_weights.features.paper import paper_statistics
from accuracy_from_weights.weights.layers import NetworkStack
from accuracy_from_weights.zoo.sources import Piece, Rows, ZooSource

_Block = tuple[Rows, NDArray[np.float32], NDArray[np.float32] | None]


@dataclass(frozen=True, eq=False)
class Described:
    """What is known of the weights of a zoo's n checkpoints.

    Attributes
    ----------
    features : ndarray of shape (n, d), float32
    feature_names : tuple of str, length d
    paper_statistics : ndarray of shape (n, 56), float32, or None
        Rows of NaN where the architecture is not the paper's; None when none is.
    fingerprint : str
        SHA-256 over metrics and weights.
    """

    features: NDArray[np.float32]
    feature_names: tuple[str, ...]
    paper_statistics: NDArray[np.float32] | None
    fingerprint: str


def describe_pieces(
    source: ZooSource, n_jobs: int = 1, count: Callable[[int], None] | None = None
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
    """
    n = len(source.metrics)
    features = np.full((n, len(FEATURE_NAMES)), np.nan, np.float32)
    paper = None
    fingerprint = hashlib.sha256(source.metrics.digest.encode())
    if len(source.pieces) == 1:
        n_jobs = 1
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator", batch_size=1)
    tasks = (joblib.delayed(_describe_piece)(piece) for piece in source.pieces)
    with contextlib.closing(parallel(tasks)) as results:
        for blocks, digest in results:
            fingerprint.update(digest)
            for rows, described, statistics in blocks:
                features[rows] = described
                if statistics is not None:
                    if paper is None:
                        paper = np.full((n, statistics.shape[1]), np.nan, np.float32)
                    paper[rows] = statistics
                if count is not None:
                    count(len(rows))
    return Described(features, FEATURE_NAMES, paper, fingerprint.hexdigest())


def is_paper_architecture(stack: NetworkStack) -> bool:
    """Whether the networks are the paper's: three 3 x 3 convolutions of 16 filters, one dense."""
    layers = stack.layers
    if [layer.kind for layer in layers] != ["conv", "conv", "conv", "dense"]:
        return False
    if any(
        layer.bias is None or layer.norm_scale is not None or layer.norm_shift is not None
        for layer in layers
    ):
        return False
    shapes = [layer.kernel.shape[1:] for layer in layers]
    convolutions = [(16, shapes[0][1], 3, 3), (16, 16, 3, 3), (16, 16, 3, 3)]
    return shapes[:3] == convolutions and shapes[3][1] == 16


def _describe_piece(piece: Piece) -> tuple[list[_Block], bytes]:
    blocks: list[_Block] = []
    for rows, stack in piece.stacks():
        statistics = None
        if is_paper_architecture(stack):
            statistics = paper_statistics(stack)
        blocks.append((rows, describe(stack), statistics))
    return blocks, piece.digest()
