"""Files: what is read, what is damaged or of another kind, and which libraries are needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras
import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file

from accuracy_from_weights.errors import (
    MissingDependencyError,
    UnreadableFileError,
    UnsupportedModelError,
    UntrustedFileError,
)
from accuracy_from_weights.weights import read_weights
from tests.weights.comparing import assert_same_layers, refusal

layers = keras.layers


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes_of_torch_files(dtype: torch.dtype, tmp_path: Path) -> None:
    tensor = torch.tensor([[1.5, -2.25, 3.0], [100.0, -0.5, 0.0]]).to(dtype)
    state = {"fc.weight": tensor, "fc.bias": tensor[:, 0].contiguous()}
    save_file(state, tmp_path / "model.safetensors")
    torch.save(state, tmp_path / "model.pt")
    for path in tmp_path.iterdir():
        layer = read_weights(path).layers[0]
        np.testing.assert_array_equal(layer.kernel, tensor.double().numpy())
        np.testing.assert_array_equal(layer.bias, tensor[:, 0].double().numpy())
        assert layer.kernel.dtype == (np.float64 if dtype is torch.float64 else np.float32)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_every_float8_value_of_safetensors(dtype: torch.dtype, tmp_path: Path) -> None:
    tensor = torch.arange(256, dtype=torch.uint8).view(dtype).reshape(16, 16)
    save_file({"fc.weight": tensor}, tmp_path / "model.safetensors")
    layer = read_weights(tmp_path / "model.safetensors").layers[0]
    np.testing.assert_array_equal(layer.kernel, tensor.float().numpy())


def test_safetensors_written_from_numpy_with_metadata(tmp_path: Path) -> None:
    state = {"fc.weight": np.arange(6, dtype=np.float16).reshape(2, 3), "step": np.array(3)}
    save_arrays(state, tmp_path / "model.safetensors", metadata={"format": "np"})
    layer = read_weights(tmp_path / "model.safetensors").layers[0]
    np.testing.assert_array_equal(layer.kernel, state["fc.weight"])


@pytest.mark.parametrize("policy", ["bfloat16", "float16", "float64"])
def test_half_precision_files_of_keras(policy: str, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype=policy)])
    expected = read_weights(model)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    for path in tmp_path.iterdir():
        assert_same_layers(read_weights(path), expected)
    # JAX makes single precision of double, unless told otherwise.
    is_double = policy == "float64" and keras.backend.backend() != "jax"
    assert expected.layers[0].kernel.dtype == (np.float64 if is_double else np.float32)


def test_npz_of_keras_names_and_of_fortran_order(tmp_path: Path) -> None:
    kernel = np.asfortranarray(np.arange(6.0).reshape(3, 2))
    np.savez(tmp_path / "a.npz", **{"dense/kernel": kernel, "dense/bias": np.ones(2)})
    np.savez_compressed(tmp_path / "b.npz", **{"fc.weight": kernel.T})
    for name in ("a.npz", "b.npz"):
        np.testing.assert_array_equal(read_weights(tmp_path / name).layers[0].kernel, kernel.T)


def test_path_like_objects_and_bytes(tmp_path: Path) -> None:
    class Place:
        def __fspath__(self) -> str:
            return str(tmp_path / "model.PT")

    torch.save({"fc.weight": torch.ones(2, 3)}, tmp_path / "model.PT")
    assert read_weights(Place()).layers[0].kernel.shape == (2, 3)


def test_zeros_that_compress_a_thousandfold_are_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "zeros.npz", **{"fc.weight": np.zeros((2000, 1000))})
    assert read_weights(tmp_path / "zeros.npz").layers[0].kernel.shape == (2000, 1000)


EXTENSIONS = [".keras", ".weights.h5", ".h5", ".pt", ".pth", ".ckpt", ".safetensors", ".npz"]


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_missing_empty_text_and_folder(extension: str, tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / f"missing{extension}")
    assert "does not exist" in refusal(str(tmp_path / f"missing{extension}"))
    empty = tmp_path / f"empty{extension}"
    empty.touch()
    assert "empty" in refusal(empty)
    text = tmp_path / f"text{extension}"
    text.write_text("these are not the weights you are looking for\n" * 20)
    refusal(text)
    folder = tmp_path / f"folder{extension}"
    folder.mkdir()
    assert "folder" in refusal(folder)


def test_unknown_extensions_and_pipes(tmp_path: Path) -> None:
    (tmp_path / "model.abc").write_bytes(b"1234")
    assert ".safetensors" in refusal(tmp_path / "model.abc")
    for extension, words in ((".onnx", "exported from"), (".jit", "code"), (".gguf", "llama.cpp")):
        (tmp_path / f"model{extension}").write_bytes(b"1234")
        assert words in refusal(tmp_path / f"model{extension}")
    assert "extension ''" in refusal(tmp_path / "model")
    os.mkfifo(tmp_path / "pipe.pt")  # opening it would wait for a writer
    assert "ordinary file" in refusal(tmp_path / "pipe.pt")
    with pytest.raises(UnreadableFileError, match="cannot be opened"):
        read_weights("with\0nul.pt")


FILES = [
    f"model{e}" for e in (".keras", ".weights.h5", ".h5", ".pt", ".pth", ".safetensors", ".npz")
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.9, 0.999])
def test_truncated_files(
    name: str, fraction: float, good_files: dict[str, bytes], tmp_path: Path
) -> None:
    content = good_files[name]
    (tmp_path / name).write_bytes(content[: int(len(content) * fraction)])
    # Cut in the middle of a name, a pickle seems to want something unknown.
    is_cut_name = (name, fraction) == ("model.pth", 0.01)
    refusal(tmp_path / name, UntrustedFileError if is_cut_name else UnreadableFileError)


@pytest.mark.parametrize("name", FILES)
def test_files_of_another_format_than_their_name(
    name: str, good_files: dict[str, bytes], tmp_path: Path
) -> None:
    for other in FILES:
        path = tmp_path / f"{other.replace('.', '_')}{name[5:]}"
        path.write_bytes(good_files[other])
        alike = {"model.weights.h5", "model.h5"}, {"model.pt", "model.pth"}, {name}
        if any({name, other} <= names for names in alike):
            assert len(read_weights(path).layers) == 4
        else:
            refusal(path)


@pytest.mark.parametrize("name", FILES)
def test_damaged_bytes_are_refused_or_read_but_never_crash(
    name: str, good_files: dict[str, bytes], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for i in range(12):
        content = np.frombuffer(good_files[name], np.uint8).copy()
        # Headers are at the beginning or, in zip archives, at the end.
        region = content[:2000] if i % 2 else content[-600:]
        region[rng.integers(0, len(region), 5)] ^= rng.integers(1, 256, 5, dtype=np.uint8)
        path = tmp_path / f"{i}{name[5:]}"
        path.write_bytes(content.tobytes())
        try:
            read_weights(path)
        except (UnreadableFileError, UnsupportedModelError) as error:
            assert "\n" not in str(error)  # noqa: PT017  # most, but not all of them are refused


def test_bfloat16_arrays_of_numpy_in_npz(tmp_path: Path) -> None:
    # numpy writes them as raw bytes: what they were is lost, and no guess is made.
    np.savez(tmp_path / "model.npz", **{"fc.weight": np.ones((2, 2), ml_dtypes.bfloat16)})
    with pytest.raises(UnsupportedModelError, match="no layer with a kernel"):
        read_weights(tmp_path / "model.npz")


@pytest.mark.parametrize(
    ("library", "name", "extra"),
    [
        ("torch", "model.pt", "torch"),
        ("h5py", "model.keras", "files"),
        ("h5py", "model.h5", "files"),
    ],
)
def test_missing_libraries_are_named_with_their_extra(
    library: str,
    name: str,
    extra: str,
    good_files: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / name).write_bytes(good_files[name])
    monkeypatch.setitem(sys.modules, library, None)
    sentence = refusal(tmp_path / name, MissingDependencyError)
    assert f"accuracy-from-weights[{extra}]" in sentence


def test_files_that_need_no_library_wake_none(good_files: dict[str, bytes], tmp_path: Path) -> None:
    for name in ("model.safetensors", "model.npz", "model.keras"):
        (tmp_path / name).write_bytes(good_files[name])
    code = (
        "import sys\n"
        "from accuracy_from_weights.weights import read_weights\n"
        "for path in sys.argv[1:]:\n"
        "    assert len(read_weights(path).layers) == 4\n"
        "woken = {'torch', 'keras', 'jax', 'tensorflow', 'safetensors'} & {*sys.modules}\n"
        "assert not woken, woken\n"
    )
    paths = sorted(str(path) for path in tmp_path.iterdir())
    subprocess.run([sys.executable, "-c", code, *paths], check=True)
