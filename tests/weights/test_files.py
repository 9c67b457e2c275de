"""Files: dtypes, damage, traps, and missing libraries; each refusal is one clear sentence."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest
import torch
from comparing import assert_same_layers
from networks import mlp, paper_cnn
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file

from accuracy_from_weights.errors import (
    MissingDependencyError,
    UnreadableFileError,
    UnsupportedModelError,
    UntrustedFileError,
)
from accuracy_from_weights.weights import read_weights

layers = keras.layers


def refusal(path: Path | str, kind: type[Exception] = UnreadableFileError) -> str:
    """The sentence with which a file is refused, after checking that it is one."""
    with pytest.raises(kind) as caught:
        read_weights(path)
    sentence = str(caught.value)
    assert type(caught.value) is kind
    assert "\n" not in sentence
    assert sentence.startswith("Expected ")
    assert "Received: " in sentence
    assert str(path) in sentence
    assert len(sentence) < 500
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    if isinstance(caught.value, UnreadableFileError):
        assert caught.value.exit_code == 4
    return sentence


# -- What is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int8])
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
    assert expected.layers[0].kernel.dtype == (np.float64 if policy == "float64" else np.float32)


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


# -- What is no file of weights -------------------------------------------------------------------

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
    (tmp_path / "model.onnx").write_bytes(b"1234")
    assert ".safetensors" in refusal(tmp_path / "model.onnx")
    assert "extension ''" in refusal(tmp_path / "model")
    os.mkfifo(tmp_path / "pipe.pt")  # opening it would wait for a writer
    assert "ordinary file" in refusal(tmp_path / "pipe.pt")
    with pytest.raises(UnreadableFileError, match="cannot be opened"):
        read_weights("with\0nul.pt")


@pytest.fixture(scope="module")
def good_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("good")
    pair = paper_cnn()
    state = pair.torch_module.state_dict()
    pair.keras_model.save(folder / "model.keras")
    pair.keras_model.save_weights(folder / "model.weights.h5")
    pair.keras_model.save(folder / "model.h5")
    torch.save(state, folder / "model.pt")
    torch.save(state, folder / "model.pth", _use_new_zipfile_serialization=False)
    save_file(state, folder / "model.safetensors")
    np.savez(folder / "model.npz", **{name: tensor.numpy() for name, tensor in state.items()})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


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


# -- Traps ----------------------------------------------------------------------------------------


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


@pytest.mark.parametrize("extension", [".pt", ".pth", ".ckpt"])
def test_a_pickle_that_runs_code_is_not_run(extension: str, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    bomb = {"state_dict": {"fc.weight": torch.ones(2, 2)}, "extra": Bomb(proof)}
    torch.save(bomb, tmp_path / f"zip{extension}")
    torch.save(bomb, tmp_path / f"old{extension}", _use_new_zipfile_serialization=False)
    (tmp_path / f"plain{extension}").write_bytes(pickle.dumps(bomb))
    for name in ("zip", "old", "plain"):
        sentence = refusal(tmp_path / f"{name}{extension}", UntrustedFileError)
        assert "state_dict()" in sentence
    assert "system" in refusal(tmp_path / f"zip{extension}", UntrustedFileError)
    assert not proof.exists()


def test_pickled_modules_and_scripts_are_not_trusted(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 3)
    torch.save(module, tmp_path / "module.pt")
    assert "torch.nn.modules.linear.Linear" in refusal(tmp_path / "module.pt", UntrustedFileError)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(module, torch.ones(1, 2)), tmp_path / "script.pt")
    assert "TorchScript" in refusal(tmp_path / "script.pt", UntrustedFileError)


def test_a_file_of_something_else_holds_no_network(tmp_path: Path) -> None:
    torch.save(torch.ones(3, 3), tmp_path / "tensor.pt")
    torch.save({"epoch": 3}, tmp_path / "numbers.pt")
    for name in ("tensor.pt", "numbers.pt"):
        with pytest.raises(UnsupportedModelError):
            read_weights(tmp_path / name)


def test_tensors_that_claim_more_than_is_stored(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.ones(1).expand(10**6, 10**6)}, tmp_path / "expanded.pt")
    assert "more values than are stored" in refusal(tmp_path / "expanded.pt")
    indices = torch.tensor([[0], [0]])
    sparse = torch.sparse_coo_tensor(indices, torch.ones(1), (10**6, 10**6))
    torch.save({"fc.weight": sparse}, tmp_path / "sparse.pt")
    assert "sparse" in refusal(tmp_path / "sparse.pt")


def npy_header(shape: str, dtype: str = "'<f4'") -> bytes:
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("(1000000, 1000000)", "disagree"),
        ("(-4, -4)", "disagree"),
        ("(4, 5)", "disagree"),
        ("'abc'", ""),
    ],
)
def test_npz_with_impossible_shapes(shape: str, words: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.npz", "w") as archive:
        archive.writestr("fc.weight.npy", npy_header(shape) + bytes(64))
    assert words in refusal(tmp_path / "model.npz")


def test_npz_with_pickles_is_not_trusted(tmp_path: Path) -> None:
    array = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "model.npz", **{"fc.weight": array})
    assert "pickle" in refusal(tmp_path / "model.npz", UntrustedFileError)


@pytest.mark.parametrize("extension", [".npz", ".keras", ".pt"])
def test_zip_bombs_are_refused_before_they_unpack(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"bomb{extension}"
    zeros = bytes(2**20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("config.json", "data.pkl"):
            archive.writestr(name, "{}")
        with archive.open("model.weights.h5", "w") as member:
            for _ in range(300):
                member.write(zeros)
    assert path.stat().st_size < 2**20
    assert "declares" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("extension", [".npz", ".keras", ".pt"])
def test_zip_archives_with_two_members_of_one_name(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"twice{extension}"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fc.weight.npy", npy_header("(2, 2)") + bytes(16))
        archive.writestr("fc.weight.npy", npy_header("(2, 2)") + bytes(16))
    assert "two members named 'fc.weight.npy'" in refusal(path)


def safetensors_file(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    n = len(text) if length is None else length
    path.write_bytes(n.to_bytes(8, "little") + text + data)
    return path


def tensor_entry(**changes: Any) -> dict[str, Any]:
    return {"fc.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changes}}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (tensor_entry(shape=[-2, -2]), "impossible shape"),
        (tensor_entry(shape=[2.0, 2]), "impossible shape"),
        (tensor_entry(shape=[True, 2]), "impossible shape"),
        (tensor_entry(shape="22"), "impossible shape"),
        (tensor_entry(shape=[2**62, 2**62]), "disagree"),
        (tensor_entry(shape=[10**6, 10**6], data_offsets=[0, 4 * 10**12]), "truncated"),
        (tensor_entry(data_offsets=[16, 0]), "disagree"),
        (tensor_entry(data_offsets=[0, 16, 32]), "impossible"),
        (tensor_entry(data_offsets=None), "impossible"),
        (tensor_entry(dtype="F31"), "unknown dtype"),
        (tensor_entry(dtype=["F32"]), "unknown dtype"),
        ({"fc.weight": 3}, "damaged"),
        ([1, 2], "damaged"),
        (b"{" * 5000, "damaged"),
        (b"\xff\xfe{}", "damaged"),
        (b'{"a": ' + json.dumps(tensor_entry()["fc.weight"]).encode() + b', "a": 3}', "twice"),
    ],
)
def test_safetensors_with_impossible_headers(header: Any, words: str, tmp_path: Path) -> None:
    path = safetensors_file(tmp_path / "model.safetensors", header, bytes(16))
    assert words in refusal(path)


def test_safetensors_with_impossible_lengths(tmp_path: Path) -> None:
    for length in (2**63, 2**40, 10_000):
        path = safetensors_file(tmp_path / "model.safetensors", tensor_entry(), b"", length)
        assert "truncated" in refusal(path)
    path.write_bytes(b"1234")
    assert "truncated" in refusal(path)


@pytest.fixture
def keras_weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.weights.h5"
    mlp().keras_model.save_weights(path)
    return path


def replaced(path: Path, place: str = "layers/dense/vars/0") -> h5py.File:
    file = h5py.File(path, "r+")
    del file[place]
    return file


def test_hdf5_links_to_other_files_are_not_followed(keras_weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "secret.h5"
    with h5py.File(other, "w") as file:
        file["kernel"] = np.ones((12, 9))
    for link in (h5py.ExternalLink(str(other), "kernel"), h5py.SoftLink("/layers/dense_1")):
        with h5py.File(keras_weights, "r+") as file:
            del file["layers/dense/vars/0"]
            file["layers/dense/vars/0"] = link
        assert "links to another" in refusal(keras_weights, UntrustedFileError)


def test_hdf5_values_in_other_files_are_not_read(keras_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(12 * 9 * 4))
    external = [(str(tmp_path / "secret"), 0, 12 * 9 * 4)]
    with replaced(keras_weights) as file:
        file.create_dataset("layers/dense/vars/0", (12, 9), "f4", external=external)
    assert "in another file" in refusal(keras_weights, UntrustedFileError)
    layout = h5py.VirtualLayout((12, 9), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "x.h5"), "kernel", (12, 9))
    with replaced(keras_weights) as file:
        file.create_virtual_dataset("layers/dense/vars/0", layout)
    assert "in another file" in refusal(keras_weights, UntrustedFileError)


def test_hdf5_datasets_of_absurd_size_are_not_allocated(keras_weights: Path) -> None:
    with replaced(keras_weights) as file:
        file.create_dataset("layers/dense/vars/0", (10**6, 10**6), "f4", chunks=(100, 100))
    assert "declares" in refusal(keras_weights)


def test_hdf5_with_loops_groups_for_values_and_the_reverse(
    keras_weights: Path, tmp_path: Path
) -> None:
    with h5py.File(keras_weights, "r+") as file:
        file["layers/dense/again"] = file["layers"]
    refusal(keras_weights)
    other = tmp_path / "other.weights.h5"
    with h5py.File(other, "w") as file:
        file.create_group("layers/dense/vars/0/more")
    refusal(other)
    with h5py.File(other, "w") as file:
        file["layers/dense"] = np.ones(3)
    refusal(other)
    with h5py.File(other, "w") as file:
        file["x"] = np.ones(3)
    refusal(other)


def test_keras_archives_without_their_parts(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    for members, words in (
        ({"config.json": "{}"}, "without 'model.weights.h5'"),
        ({"model.weights.h5": "abc"}, "without 'config.json'"),
        ({"config.json": "{", "model.weights.h5": "abc"}, "damaged"),
        ({"config.json": "{}", "model.weights.h5": "abc"}, "no HDF5"),
        ({"config.json": "[" * 100_000, "model.weights.h5": "abc"}, "damaged"),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in members.items():
                archive.writestr(name, text)
        assert words in refusal(path)


def test_odd_configurations_of_keras_do_no_harm(tmp_path: Path) -> None:
    pair = mlp()
    weights = io.BytesIO()
    pair.keras_model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        weights.write(archive.read("model.weights.h5"))
    odd: list[Any] = [
        {},
        [],
        3,
        {"class_name": 3, "config": 4},
        {"class_name": "Sequential", "config": {"layers": [3, None, {"config": []}]}},
        {"class_name": "Sequential", "config": {"layers": "abc"}},
    ]
    for config in odd:
        with zipfile.ZipFile(tmp_path / "odd.keras", "w") as archive:
            archive.writestr("config.json", json.dumps(config))
            archive.writestr("model.weights.h5", weights.getvalue())
        assert_same_layers(read_weights(tmp_path / "odd.keras"), read_weights(pair.keras_model))


def test_code_of_lambda_layers_stays_text(tmp_path: Path) -> None:
    proof = tmp_path / "proof"

    def malicious(x: Any, proof: str = str(proof)) -> Any:
        open(proof, "w").close()
        return x

    model = keras.Sequential([keras.Input((3,)), layers.Dense(2), layers.Lambda(malicious)])
    model.save(tmp_path / "model.keras")
    proof.unlink()  # building the model ran it
    assert len(read_weights(tmp_path / "model.keras").layers) == 1
    assert not proof.exists()


def test_quantised_keras_models_are_refused() -> None:
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4)])
    model.quantize("int8")
    with pytest.raises(UnsupportedModelError, match="before it is quantised"):
        read_weights(model)


def test_bfloat16_arrays_of_numpy_in_npz(tmp_path: Path) -> None:
    # numpy writes them as raw bytes: what they were is lost, and no guess is made.
    np.savez(tmp_path / "model.npz", **{"fc.weight": np.ones((2, 2), ml_dtypes.bfloat16)})
    with pytest.raises(UnsupportedModelError, match="at least one layer"):
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
