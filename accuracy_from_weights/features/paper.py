"""The statistics of Unterthiner et al. (2020), section 3: seven numbers for each tensor.

For the paper's network (three convolutions and a dense layer, 8 tensors) these are its 56 numbers.
They are tied to one architecture; `description.describe` is not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.weights.layers import NetworkStack

_PERCENTILES = (0, 25, 50, 75, 100)


def paper_statistics(stack: NetworkStack) -> NDArray[np.float32]:
    """Mean, standard deviation and the 0/25/50/75/100 percentiles of each kernel and bias.

    Parameters
    ----------
    stack : NetworkStack
        Networks of one architecture.

    Returns
    -------
    ndarray of shape (n_networks, 7 * n_tensors)
        Layer by layer, the kernel's seven numbers before the bias's; a layer without bias has
        seven numbers only. Percentiles interpolate linearly. A tensor with a NaN gives NaNs.
    """
    columns = []
    for layer in stack.layers:
        for array in (layer.kernel, layer.bias):
            if array is None:
                continue
            values = array.reshape(stack.n_networks, -1).astype(np.float32, copy=False)
            columns += [values.mean(axis=1), values.std(axis=1)]
            columns += list(np.percentile(values, _PERCENTILES, axis=1))
    return np.stack(columns, axis=1).astype(np.float32, copy=False)
