"""A universe of labelled tasks, each from a seed: what a zoo learns from instead of data sets."""

from accuracy_from_weights.zoo_training.universe.task import (
    UNIVERSE_VERSION,
    TaskData,
    aim_of,
    make_task,
)

__all__ = ["UNIVERSE_VERSION", "TaskData", "aim_of", "make_task"]
