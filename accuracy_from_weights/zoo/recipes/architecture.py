"""A network's architecture as plain values, from which every backend builds the same network."""

from __future__ import annotations

from dataclasses import dataclass

from accuracy_from_weights.errors import ZooError

INPUT_KINDS = ("image", "table", "tokens", "signal")
KINDS = ("cnn", "resnet", "separable", "mlp", "vit", "lstm", "gru")
ACTIVATIONS = ("relu", "tanh", "gelu", "silu")
NORMALISATIONS = ("none", "batch", "layer", "group")
POSITION = "position"
"""Name of a transformer's learned positions in a state dict."""

_CHOICES = {
    "kind": KINDS,
    "activation": ACTIVATIONS,
    "normalisation": NORMALISATIONS,
    "padding": ("valid", "same"),
    "pooling": ("none", "max", "average"),
    "head": ("average", "max", "flatten", "last"),
}


@dataclass(frozen=True)
class InputForm:
    """What a network takes.

    Attributes
    ----------
    kind : {"image", "table", "tokens", "signal"}
    shape : tuple of int
        Of one input: (channels, size, size), (columns,), (length,) or (channels, length).
    vocabulary : int, default 0
        How many different tokens there are; 0 for all other kinds.
    """

    kind: str
    shape: tuple[int, ...]
    vocabulary: int = 0

    def __post_init__(self) -> None:
        if self.kind not in INPUT_KINDS:
            raise ZooError(f"Inputs of kind {self.kind!r} are unknown; use one of {INPUT_KINDS}.")
        if len(self.shape) != {"image": 3, "signal": 2}.get(self.kind, 1) or min(self.shape) < 1:
            raise ZooError(
                f"{self.shape} is no shape of an input of kind {self.kind!r}. Images have "
                "(channels, rows, columns), signals (channels, length), others (length,)."
            )
        if (self.kind == "tokens") != (self.vocabulary > 0):
            raise ZooError(
                f"A vocabulary of {self.vocabulary} does not suit inputs of kind {self.kind!r}; "
                f"tokens need one, all others have none."
            )

    @property
    def dims(self) -> int:
        """Dimensions in which an input has neighbours: 2 for images, 1 for sequences."""
        return {"image": 2, "table": 0}.get(self.kind, 1)

    @property
    def size(self) -> int:
        """Height of an image in pixels, length of a sequence, columns of a table."""
        return self.shape[-1]

    @property
    def channels(self) -> int:
        """Channels of an image or a signal; 1 for all other kinds."""
        return self.shape[0] if self.kind in ("image", "signal") else 1


@dataclass(frozen=True)
class Architecture:
    """The layers of one network.

    Attributes
    ----------
    kind : {"cnn", "resnet", "separable", "mlp", "vit", "lstm", "gru"}
        Plain convolutions; a first convolution and then residual blocks of two; a first
        convolution and then depthwise-separable ones; dense layers (of a token sequence: of the
        mean embedding); a transformer over patches or tokens; recurrent layers.
    widths : tuple of int
        Filters or units of each block. A transformer has one width, repeated for each block.
    kernel_size : int, default 3
        Height of the convolutions' kernels, in pixels.
    strides : tuple of int, default ()
        One for each block of a convolutional network: 1 or 2.
    pooling : {"none", "max", "average"}, default "none"
        With another value than ``"none"``, a stride of 2 becomes a convolution of stride 1 followed
        by pooling of 2 by 2 pixels.
    padding : {"valid", "same"}, default "valid"
        ``"same"`` puts ``kernel_size // 2`` zeros around the image, as PyTorch does.
    normalisation : {"none", "batch", "layer", "group"}, default "none"
        After each kernel; the transformer has it before each half block, where it is always
        ``"layer"``; recurrent layers have none.
    activation : {"relu", "tanh", "gelu", "silu"}, default "relu"
    head : {"average", "max", "flatten", "last"}, default "average"
        What the layers after the blocks see of images and sequences: each filter's mean or
        maximum, all values, or the last step of a sequence.
    patch_size, heads : int
        Of a transformer: pixels of a patch's side (0 for tokens), attention heads.
    mlp_ratio : float, default 2.0
        Of a transformer: width of the dense layers inside a block over the block's.
    activation_first : bool, default False
        Whether the activation comes before the normalisation, as in Keras'
        ``Conv2D(activation="relu")`` followed by ``BatchNormalization()``.
    bias : bool, default True
        Whether layers that are followed by a normalisation have biases.
    momentum, epsilon : float, default 0.1 and 1e-5
        Of batch normalisation, counted as PyTorch does; Keras' defaults are 0.01 and 1e-3.
    dense : tuple of int, default ()
        Units of dense layers between the blocks and the last layer.
    embedding : int, default 0
        Width of the tokens' embedding; a transformer embeds in its own width.

    Raises
    ------
    ZooError
        When a value is not one of those above.
    """

    kind: str = "cnn"
    widths: tuple[int, ...] = (16, 16, 16)
    kernel_size: int = 3
    strides: tuple[int, ...] = ()
    pooling: str = "none"
    padding: str = "valid"
    normalisation: str = "none"
    activation: str = "relu"
    head: str = "average"
    patch_size: int = 0
    heads: int = 0
    mlp_ratio: float = 2.0
    activation_first: bool = False
    bias: bool = True
    momentum: float = 0.1
    epsilon: float = 1e-5
    dense: tuple[int, ...] = ()
    embedding: int = 0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ZooError(
                    f"An architecture has no {name} {getattr(self, name)!r}; use one of {choices}."
                )
        if not self.widths or min((*self.widths, *self.dense)) < 1:
            raise ZooError(f"Widths have to be at least 1; {self.widths} and {self.dense} are not.")
        if self.is_convolutional and len(self.strides) != len(self.widths):
            raise ZooError(
                f"{len(self.strides)} strides do not suit {len(self.widths)} blocks; "
                f"give one for each."
            )
        if self.kind == "vit" and self.normalisation != "layer":
            raise ZooError(
                f"A transformer has no normalisation {self.normalisation!r}; it is always 'layer'."
            )
        if self.kind == "vit" and (
            self.patch_size < 0 or self.heads < 1 or self.widths[0] % self.heads
        ):
            raise ZooError(
                f"A transformer of width {self.widths[0]} cannot have {self.heads} heads and "
                f"patches of {self.patch_size}; its width has to be a multiple of its heads."
            )

    @property
    def is_convolutional(self) -> bool:
        """Whether its blocks are convolutions."""
        return self.kind in ("cnn", "resnet", "separable")

    @property
    def has_bias(self) -> bool:
        """Whether the blocks' kernels have biases."""
        return self.bias or self.normalisation == "none"

    def has_shortcut(self, depth: int, width: int, stride: int) -> bool:
        """Return whether a residual block needs a convolution in its skip connection."""
        return depth != width or (stride > 1 and self.pooling == "none")

    def sizes(self, size: int) -> tuple[int, ...]:
        """Return the height of a convolutional network's maps after each block, in pixels.

        Images that are too small for the architecture raise `ZooError`.
        """
        sizes = []
        left = size
        pad = self.kernel_size // 2 if self.padding == "same" else 0
        for block, stride in enumerate(self.strides):
            by_pooling = stride > 1 and self.pooling != "none"
            # A residual block's second convolution always keeps the size.
            shrink = 2 * (self.kernel_size // 2)
            inner_pad = shrink // 2 if self.kind == "resnet" and block else pad
            left = (left + 2 * inner_pad - self.kernel_size) // (1 if by_pooling else stride) + 1
            if by_pooling:
                left //= 2
            if left < 1:
                raise ZooError(
                    f"Images of {size} pixels are too small: block {block + 1} of "
                    f"{len(self.strides)} leaves nothing of them."
                )
            sizes.append(left)
        return tuple(sizes)


def paper_architecture(activation: str) -> Architecture:
    """Return the Small CNN Zoo's network: three 3 by 3 convolutions of 16 filters, stride 2.

    Source: Unterthiner et al., Predicting Neural Network Accuracy from Weights, 2020, section 3.
    """
    return Architecture(
        kind="cnn", widths=(16, 16, 16), strides=(2, 2, 2), padding="valid", activation=activation
    )


def norm_groups(channels: int) -> int:
    """Return the number of groups of a group normalisation."""
    return next(groups for groups in (4, 2, 1) if channels % groups == 0)
