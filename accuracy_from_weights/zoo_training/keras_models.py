"""Keras models of recipes' architectures, and their weights in PyTorch's layout and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from accuracy_from_weights.zoo.recipes.architecture import (
    POSITION,
    Architecture,
    InputForm,
    norm_groups,
)

# PyTorch's default: its state dicts do not say it, so whoever reads one assumes it.
_EPSILON = 1e-5


_Axes = tuple[int, ...] | None
# A variable, PyTorch's name for it, the order of axes from PyTorch's layout and to it.
_Named = tuple[Any, str, _Axes, _Axes]


class _Position(layers.Layer):
    """Adds a learned position to each token."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the weight, of shape (1, tokens, width)."""
        self.position = self.add_weight(shape=(1, *shape[1:]), initializer="zeros", name=POSITION)

    def call(self, x: Any) -> Any:
        """Add it."""
        return x + self.position


class KerasNetwork:
    """A Keras model of an architecture; it takes images with the channels last, gives logits.

    For ``l2`` and ``dropout`` see `NetworkRecipe`; the seed is that of dropout.
    """

    def __init__(
        self,
        architecture: Architecture,
        form: InputForm,
        n_classes: int,
        *,
        l2: float = 0.0,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._architecture = architecture
        self._l2 = keras.regularizers.L2(l2) if l2 > 0 else None
        self._dropout = dropout
        # Keras takes seeds of 31 bits.
        self._seeds = iter(np.random.SeedSequence(seed).generate_state(64) >> 1)
        self._layers: dict[str, Any] = {}
        self._activation: Callable[[Any], Any] = {
            "relu": ops.relu,
            "tanh": ops.tanh,
            "gelu": lambda x: ops.gelu(x, approximate=False),
            "silu": ops.silu,
        }[architecture.activation]
        inputs = keras.Input((form.size, form.size, form.channels))
        if architecture.kind == "vit":
            x = self._transformer(inputs)
        elif architecture.kind == "mlp":
            x = self._flat(inputs)
            for i, width in enumerate(architecture.widths):
                x = self._norm(f"blocks.{i}.norm", self._dense(f"blocks.{i}.dense", width, x))
                x = self._drop(self._activation(x))
        else:
            x = self._convolutions(inputs)
            if architecture.head == "flatten":
                x = self._flat(x)
            else:
                x = layers.GlobalAveragePooling2D()(x)
        self.model = keras.Model(inputs, self._dense("head", n_classes, x))

    # -- weights -----------------------------------------------------------------------------

    def load(self, state: Mapping[str, NDArray[np.float32]]) -> None:
        """Set the parameters from a PyTorch state; buffers that it lacks keep their values."""
        for variable, name, from_torch, _ in self._named():
            if name in state:
                values = np.asarray(state[name])
                variable.assign(values.transpose(from_torch) if from_torch else values)

    def state(self) -> dict[str, NDArray[np.float32]]:
        """Return the weights with the names and layout of the PyTorch module's state dict."""
        state = {}
        for variable, name, _, to_torch in self._named():
            values = np.asarray(keras.ops.convert_to_numpy(variable), np.float32)
            state[name] = np.array(values.transpose(to_torch) if to_torch else values, order="C")
        return state

    @property
    def without_decay(self) -> list[Any]:
        """Variables that weight decay leaves alone: all but kernels."""
        return [
            variable
            for variable, name, _, _ in self._named()
            if name == POSITION or not name.endswith("weight") or len(variable.shape) < 2
        ]

    def _named(self) -> list[_Named]:
        """Variables with PyTorch's name and the orders of axes from its layout and to it."""
        orders = {
            layers.Dense: ((1, 0), (1, 0)),
            layers.DepthwiseConv2D: ((2, 3, 0, 1), (2, 3, 0, 1)),
            layers.Conv2D: ((2, 3, 1, 0), (3, 2, 0, 1)),
        }
        named: list[_Named] = []
        for name, layer in self._layers.items():
            if type(layer) in orders:
                named.append((layer.kernel, f"{name}.weight", *orders[type(layer)]))
                named.append((layer.bias, f"{name}.bias", None, None))
            elif isinstance(layer, _Position):
                named.append((layer.position, POSITION, None, None))
            else:
                own = {"weight": layer.gamma, "bias": layer.beta}
                if isinstance(layer, layers.BatchNormalization):
                    own |= {"running_mean": layer.moving_mean, "running_var": layer.moving_variance}
                named += [(value, f"{name}.{part}", None, None) for part, value in own.items()]
        return named

    # -- layers ------------------------------------------------------------------------------

    def _add(self, name: str, layer: Any, x: Any) -> Any:
        self._layers[name] = layer
        return layer(x)

    def _dense(self, name: str, width: int, x: Any) -> Any:
        return self._add(name, layers.Dense(width, kernel_regularizer=self._l2), x)

    def _conv(self, name: str, x: Any, width: int, side: int, stride: int = 1, pad: int = 0) -> Any:
        if pad:
            # Keras' own "same" pads one side more than the other when the stride is 2.
            x = layers.ZeroPadding2D(pad)(x)
        layer = layers.Conv2D(width, side, stride, kernel_regularizer=self._l2)
        return self._add(name, layer, x)

    def _norm(self, name: str, x: Any) -> Any:
        kind = self._architecture.normalisation
        if kind == "none":
            return x
        if kind == "batch":
            # Keras counts what is kept of the mean, PyTorch what is replaced.
            layer = layers.BatchNormalization(
                momentum=1.0 - self._architecture.momentum, epsilon=self._architecture.epsilon
            )
        elif kind == "layer" and len(x.shape) < 4:
            layer = layers.LayerNormalization(epsilon=_EPSILON)
        else:
            groups = 1 if kind == "layer" else norm_groups(x.shape[-1])
            layer = layers.GroupNormalization(groups, epsilon=_EPSILON)
        return self._add(name, layer, x)

    def _drop(self, x: Any) -> Any:
        return layers.Dropout(self._dropout, seed=int(next(self._seeds)))(x) if self._dropout else x

    def _flat(self, x: Any) -> Any:
        # PyTorch's order: channel, row, column.
        return layers.Flatten()(layers.Permute((3, 1, 2))(x))

    def _pool(self, stride: int, x: Any) -> Any:
        if stride == 1 or self._architecture.pooling == "none":
            return x
        kind = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}
        return kind[self._architecture.pooling](2)(x)

    # -- blocks ------------------------------------------------------------------------------

    def _convolutions(self, x: Any) -> Any:
        a = self._architecture
        side = a.kernel_size
        pad = side // 2 if a.padding == "same" else 0
        for i, (width, stride) in enumerate(zip(a.widths, a.strides, strict=True)):
            block = f"blocks.{i}"
            step = 1 if a.pooling != "none" else stride
            if i == 0 or a.kind == "cnn":
                y = self._norm(
                    f"{block}.norm", self._conv(f"{block}.conv", x, width, side, step, pad)
                )
            elif a.kind == "resnet":
                y = self._conv(f"{block}.conv1", x, width, side, step, side // 2)
                y = self._activation(self._norm(f"{block}.norm1", y))
                y = self._conv(f"{block}.conv2", y, width, side, pad=side // 2)
                y = self._norm(f"{block}.norm2", y)
                if a.has_shortcut(x.shape[-1], width, stride):
                    x = self._conv(f"{block}.shortcut", x, width, 1, step)
                y = y + x
            else:
                y = layers.ZeroPadding2D(pad)(x) if pad else x
                depthwise = layers.DepthwiseConv2D(side, step, depthwise_regularizer=self._l2)
                y = self._add(f"{block}.depthwise", depthwise, y)
                y = self._norm(f"{block}.norm", self._conv(f"{block}.pointwise", y, width, 1))
            x = self._drop(self._pool(stride, self._activation(y)))
        return x

    def _transformer(self, x: Any) -> Any:
        architecture = self._architecture
        width, patch = architecture.widths[0], architecture.patch_size
        tokens = (x.shape[1] // patch) ** 2
        # The position comes first among a PyTorch module's weights.
        self._layers[POSITION] = _Position()
        x = self._conv("patches", x, width, patch, patch)
        x = self._layers[POSITION](layers.Reshape((tokens, width))(x))
        for i in range(len(architecture.widths)):
            block = f"blocks.{i}"
            y = self._norm(f"{block}.norm1", x)
            x = x + self._drop(self._attention(block, tokens, y))
            y = self._norm(f"{block}.norm2", x)
            y = self._dense(f"{block}.expand", round(width * architecture.mlp_ratio), y)
            x = x + self._drop(self._dense(f"{block}.contract", width, self._activation(y)))
        return ops.mean(self._norm("norm", x), axis=1)

    def _attention(self, block: str, tokens: int, x: Any) -> Any:
        heads, width = self._architecture.heads, self._architecture.widths[0]

        def split(part: str) -> Any:
            y = self._dense(f"{block}.{part}", width, x)
            return layers.Permute((2, 1, 3))(layers.Reshape((tokens, heads, width // heads))(y))

        queries, keys, values = split("query"), split("key"), split("value")
        keys = ops.transpose(keys, (0, 1, 3, 2))
        scores = ops.softmax(ops.matmul(queries, keys) * (width // heads) ** -0.5, axis=-1)
        mixed = layers.Permute((2, 1, 3))(ops.matmul(scores, values))
        return self._dense(f"{block}.project", width, layers.Reshape((tokens, width))(mixed))
