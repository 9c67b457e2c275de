"""Equality of two readings, and the sentence of a refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accuracy_from_weights.errors import UnreadableFileError
from accuracy_from_weights.weights import NetworkWeights, read_weights


def assert_same_layers(
    first: NetworkWeights, second: NetworkWeights, tolerance: float = 1e-6
) -> None:
    """Same kinds in the same order, same arrays; names may differ."""
    assert [layer.kind for layer in first.layers] == [layer.kind for layer in second.layers]
    for one, other in zip(first.layers, second.layers, strict=True):
        for a, b in zip(one.arrays, other.arrays, strict=True):
            assert (a is None) == (b is None), f"{one.name} and {other.name}"
            if a is not None and b is not None:
                np.testing.assert_allclose(
                    a, b, rtol=tolerance, atol=tolerance, err_msg=f"{one.name} and {other.name}"
                )


def refusal(path: Path | str, kind: type[Exception] = UnreadableFileError) -> str:
    """The sentence with which a file is refused, after checking that it is one."""
    with pytest.raises(kind) as caught:
        read_weights(path)
    sentence = str(caught.value)
    assert type(caught.value) is kind
    assert "\n" not in sentence
    assert not sentence.startswith("Expected ")
    assert str(path) in sentence
    assert len(sentence) < 500
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    if isinstance(caught.value, UnreadableFileError):
        assert caught.value.exit_code == 4
    return sentence
