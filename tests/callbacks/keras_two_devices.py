"""Trains with Keras on JAX, the weights sharded over two devices. Run by a test."""

from __future__ import annotations

import keras
import numpy as np
from keras import distribution

from accuracy_from_weights.callbacks.keras import AccuracyFromWeights
from tests.callbacks.keras_runs import KEY, fit, network
from tests.callbacks.scripted import ReadsWeights, raw_accuracy


def main() -> None:
    mesh = distribution.DeviceMesh((1, 2), ["batch", "model"], distribution.list_devices())
    layout = distribution.LayoutMap(mesh)
    layout[".*conv2d.*kernel"] = (None, None, None, "model")
    distribution.set_distribution(
        distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")
    )
    model = network()
    kernel = model.layers[0].kernel
    shards = {shard.data.shape for shard in kernel.value.addressable_shards}
    assert shards == {(3, 3, 1, 2)}, shards
    seen = fit(model, [AccuracyFromWeights(ReadsWeights())], 2).history[KEY]
    whole = {
        f"{at}.{name}": keras.ops.convert_to_numpy(getattr(layer, name))
        for at, layer in enumerate(layers_of(model))
        for name in ("kernel", "bias")
    }
    expected = raw_accuracy({name: np.asarray(array) for name, array in whole.items()})
    assert np.isclose(seen[-1], expected, rtol=1e-4), (seen, expected)
    print("read whole")


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if hasattr(layer, "kernel")]


if __name__ == "__main__":
    main()
