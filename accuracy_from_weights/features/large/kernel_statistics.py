"""What is asked of one large kernel: a few numbers a neuron, an input or a layer.

Two files answer: `blocked_kernels` with numpy, in blocks that fit a processor's cache, and
`torch_kernels` with PyTorch, on whatever device the kernel lies. Both choose the same neurons and
inputs and give the same numbers up to rounding.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features.numbers import DIVERGED, FloatArray


@dataclass(frozen=True, eq=False)
class PowerSums:
    """What one pass over a kernel gives.

    Attributes
    ----------
    lowest, highest : float
    mean : float
    central : ndarray of shape (3,)
        Central moments of order two, three and four.
    row_squares, row_peaks : ndarray of shape (out,)
        Sum of the squares of a neuron's weights, and the largest of their absolute values.
    input_squares : ndarray of shape (inputs,)
        Sum of the squares of the weights of an input.
    """

    lowest: float
    highest: float
    mean: float
    central: FloatArray
    row_squares: FloatArray
    row_peaks: FloatArray
    input_squares: FloatArray


class Neurons(Protocol):
    """Some neurons of a kernel: k rows of fan-in weights."""

    def peaks(self) -> FloatArray:
        """Largest absolute weight that each input has to these neurons; of shape (inputs,)."""

    def gram(self) -> FloatArray:
        """Products of all pairs; of shape (k, k)."""

    def weights(self, inputs: NDArray[np.intp]) -> FloatArray:
        """Weights from some inputs; of shape (k, len(inputs), *spatial)."""

    def products(
        self, combinations: FloatArray, row_weights: FloatArray
    ) -> tuple[FloatArray, float]:
        """Multiply the whole kernel by combinations of these neurons, and by weights.

        Parameters
        ----------
        combinations : ndarray of shape (k, d)
            Each column is a direction of fan-in weights: a weighted sum of these neurons.
        row_weights : ndarray of shape (out,)

        Returns
        -------
        ndarray of shape (d, d)
            ``A.T @ A`` where A, of shape (out, d), is the kernel times the directions.
        float
            Length of the weighted sum of all rows.
        """


class LargeKernel(ABC):
    """The kernel of one network's layer, of shape (out, inputs, *spatial).

    Parameters
    ----------
    shape : tuple of int

    Attributes
    ----------
    sums : PowerSums
        Of the weights, clipped where they have diverged.
    is_finite : bool
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.out, self.inputs = shape[:2]
        self.positions = math.prod(shape[2:])
        self.fan_in = self.inputs * self.positions
        self._is_clipped = False
        sums = self._power_sums(0.0)
        self.is_finite = bool(np.isfinite(sums.lowest) and np.isfinite(sums.highest))
        if self.is_finite and max(-sums.lowest, sums.highest) > DIVERGED:
            self._is_clipped = True
            sums = self._power_sums(0.0)
        if self.is_finite and sums.mean**2 > sums.central[0]:
            # Differences of large numbers would be left of the central moments.
            sums = self._power_sums(sums.mean)
        self.sums = sums

    @abstractmethod
    def _power_sums(self, centre: float) -> PowerSums:
        """Pass over the kernel once; moments are taken about the centre first."""

    @abstractmethod
    def choose(self, neurons: NDArray[np.intp]) -> Neurons:
        """Look at some rows more closely."""

    @abstractmethod
    def carry(
        self, mean: FloatArray, variance: FloatArray, depthwise: bool = False
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Send means and variances of the inputs through the kernel.

        Parameters
        ----------
        mean, variance : ndarray of shape (v, inputs)
            Of shape (v, out) where the kernel is depthwise.
        depthwise : bool
            Whether each output sees the input of its own number.

        Returns
        -------
        mean, apart, together : ndarray of shape (v, out)
            Means; variances if the inputs' positions are independent, and if they are alike.
        """


def central_moments(powers: FloatArray) -> FloatArray:
    """Return moments of order two, three and four about the mean.

    Parameters
    ----------
    powers : ndarray of shape (4,)
        Means of the first four powers about any centre.
    """
    first, second, third, fourth = powers
    central = (
        second - first**2,
        third - 3 * first * second + 2 * first**3,
        fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4,
    )
    return np.maximum(central, (0, -np.inf, 0))
