"""A trained network: its recipe, and its weights and scores at each checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe


@dataclass(frozen=True, eq=False)
class Scores:
    """What is measured of a network at one moment of its training.

    Attributes
    ----------
    test_accuracy, train_accuracy : float
        Fractions in [0, 1] without dropout; the training accuracy is measured on the images that
        were trained on, against the labels that were given, noise included.
    test_loss, train_loss : float
        Mean cross-entropy in nats, without the L2 term; measured as the accuracies are.
    log_accuracy, log_loss : float
        The same as a training loop reports them for free: averaged over the epoch that ended here,
        dropout on. NaN at step 0.

    All six are NaN once the network has diverged.
    """

    test_accuracy: float
    test_loss: float
    train_accuracy: float
    train_loss: float
    log_accuracy: float
    log_loss: float


@dataclass(frozen=True, eq=False)
class Checkpoint(Scores):
    """One network at one moment of its training.

    Attributes
    ----------
    step : float
        Epochs trained.
    weights : mapping of str to ndarray
        Names and layout of a PyTorch state dict (kernels as out, in, *spatial), buffers of batch
        normalisation included; float32, and NaN once the network has diverged.
    """

    step: float
    weights: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network's recipe, its checkpoints and the time they took.

    Attributes
    ----------
    recipe : NetworkRecipe
    checkpoints : tuple of Checkpoint
        One for each of ``recipe.checkpoints``, in that order.
    diverged : bool
        Whether weights became NaN or infinite; the checkpoints from then on hold NaN.
    seconds : float
        Time that this network took; networks trained at once share theirs equally.
    """

    recipe: NetworkRecipe
    checkpoints: tuple[Checkpoint, ...]
    diverged: bool
    seconds: float
