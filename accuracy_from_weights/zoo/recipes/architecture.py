"""A network's architecture as plain values, from which every backend builds the same network."""

from __future__ import annotations

from dataclasses import dataclass

from accuracy_from_weights.errors import ZooError

KINDS = ("cnn", "resnet", "separable", "mlp", "vit")
ACTIVATIONS = ("relu", "tanh", "gelu", "silu")
NORMALISATIONS = ("none", "batch", "layer", "group")
_CHOICES = {
    "kind": KINDS,
    "activation": ACTIVATIONS,
    "normalisation": NORMALISATIONS,
    "padding": ("valid", "same"),
    "pooling": ("none", "max", "average"),
    "head": ("average", "flatten"),
}


@dataclass(frozen=True)
class Architecture:
    """The layers of one network.

    Attributes
    ----------
    kind : {"cnn", "resnet", "separable", "mlp", "vit"}
        Plain convolutions; a first convolution and then residual blocks of two; a first
        convolution and then depthwise-separable ones; dense layers; a vision transformer.
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
        After each kernel and before the activation; the transformer has it before each half block,
        where it is always ``"layer"``.
    activation : {"relu", "tanh", "gelu", "silu"}, default "relu"
    head : {"average", "flatten"}, default "average"
        What the last dense layer sees of a convolutional network: each filter's mean, or all.
    patch_size, heads : int
        Of a transformer: pixels of a patch's side, attention heads.
    mlp_ratio : float, default 2.0
        Of a transformer: width of the dense layers inside a block over the block's.

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

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ZooError(
                    f"Expected an architecture's {name} to be one of {choices}. "
                    f"Received: {getattr(self, name)!r}."
                )
        if not self.widths or min(self.widths) < 1:
            raise ZooError(f"Expected widths of at least 1. Received: {self.widths}.")
        if self.is_convolutional and len(self.strides) != len(self.widths):
            raise ZooError(
                f"Expected one stride for each of {len(self.widths)} blocks. "
                f"Received: {self.strides}."
            )
        if self.kind == "vit" and self.normalisation != "layer":
            raise ZooError(
                "Expected a transformer's normalisation to be 'layer'. "
                f"Received: {self.normalisation!r}."
            )
        if self.kind == "vit" and (
            self.patch_size < 1 or self.heads < 1 or self.widths[0] % self.heads
        ):
            raise ZooError(
                "Expected a transformer's patch_size and heads to be at least 1 and its width to "
                f"be a multiple of its heads. Received: patch_size={self.patch_size}, "
                f"heads={self.heads}, width={self.widths[0]}."
            )

    @property
    def is_convolutional(self) -> bool:
        """Whether its blocks are convolutions."""
        return self.kind in ("cnn", "resnet", "separable")

    def sizes(self, image_size: int) -> tuple[int, ...]:
        """Height of a convolutional network's maps after each block, in pixels.

        Raises
        ------
        ZooError
            When the images are too small for the architecture.
        """
        sizes = []
        size = image_size
        pad = self.kernel_size // 2 if self.padding == "same" else 0
        for block, stride in enumerate(self.strides):
            by_pooling = stride > 1 and self.pooling != "none"
            # A residual block's second convolution always keeps the size.
            shrink = 2 * (self.kernel_size // 2)
            inner_pad = shrink // 2 if self.kind == "resnet" and block else pad
            size = (size + 2 * inner_pad - self.kernel_size) // (1 if by_pooling else stride) + 1
            if by_pooling:
                size //= 2
            if size < 1:
                raise ZooError(
                    f"Expected images large enough for {len(self.strides)} blocks. "
                    f"Received: images of {image_size} pixels, of which block {block + 1} "
                    "leaves nothing."
                )
            sizes.append(size)
        return tuple(sizes)


def paper_architecture(activation: str) -> Architecture:
    """Give the Small CNN Zoo's network: three 3 by 3 convolutions of 16 filters, stride 2.

    Source: Unterthiner et al., Predicting Neural Network Accuracy from Weights, 2020, section 3.
    """
    return Architecture(
        kind="cnn", widths=(16, 16, 16), strides=(2, 2, 2), padding="valid", activation=activation
    )
