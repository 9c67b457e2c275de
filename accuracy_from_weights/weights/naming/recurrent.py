"""Recurrent layers of both conventions in one form.

Two layers each, of kind ``"recurrent"``: what the input goes through, (gates * units, inputs),
and what the state goes through, (gates * units, units). The gates stand in PyTorch's order:
input, forget, cell, output for LSTM; reset, update, new for GRU. Where the two biases are only
ever added (LSTM and the plain RNN), their sum belongs to the first.
"""

from __future__ import annotations

import numpy as np

from accuracy_from_weights.weights.found_layers import Kernel
from accuracy_from_weights.weights.layers import Array


def recurrent_kernels(
    name: str,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array | None,
    recurrent_bias: Array | None,
) -> list[Kernel]:
    """Return both kernels of one direction of a recurrent layer, given in PyTorch's layout."""
    bias, recurrent_bias = (
        b if b is not None and b.shape == k.shape[:1] else None
        for b, k in ((bias, kernel), (recurrent_bias, recurrent_kernel))
    )
    if kernel.shape[0] != recurrent_kernel.shape[0]:
        return []
    is_gru = recurrent_kernel.shape[0] == 3 * recurrent_kernel.shape[1]
    if bias is not None and recurrent_bias is not None and not is_gru:
        with np.errstate(all="ignore"):
            bias = bias + recurrent_bias
        recurrent_bias = None
    return [
        Kernel(f"{name}.input", "recurrent", kernel, bias, kind_is_known=True),
        Kernel(f"{name}.state", "recurrent", recurrent_kernel, recurrent_bias, kind_is_known=True),
    ]


def from_keras_gru(array: Array) -> Array:
    """Bring Keras's gates update, reset, new (first axis) to reset, update, new."""
    units = array.shape[0] // 3
    order = np.r_[units : 2 * units, :units, 2 * units : 3 * units]
    return array[order]
