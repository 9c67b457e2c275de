"""A universe of labelled tasks, each from a seed: what a zoo learns from instead of data sets."""

from accuracy_from_weights.zoo_training.universe.task import (
    KIND_SHARES,
    UNIVERSE_VERSION,
    TaskData,
    aim_of,
    make_task,
)

__all__ = ["KIND_SHARES", "UNIVERSE_VERSION", "TaskData", "aim_of", "make_task"]
