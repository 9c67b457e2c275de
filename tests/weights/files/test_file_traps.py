"""Files made to do harm: they run no code, follow no links and allocate nothing absurd."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch

from accuracy_from_weights.errors import (
    UnreadableFileError,
    UnsupportedModelError,
    UntrustedFileError,
)
from accuracy_from_weights.weights import read_weights
from accuracy_from_weights.weights.files.hdf5_heaps import damaged_texts
from accuracy_from_weights.weights.files.hdf5_safety import SafeHdf5
from tests.weights.comparing import assert_same_layers, refusal
from tests.weights.networks import mlp

layers = keras.layers


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
    assert "the tensors together" in refusal(tmp_path / "expanded.pt")
    indices = torch.tensor([[0], [0]])
    sparse = torch.sparse_coo_tensor(indices, torch.ones(1), (10**6, 10**6))
    torch.save({"fc.weight": sparse}, tmp_path / "sparse.pt")
    assert "the tensors together" in refusal(tmp_path / "sparse.pt")
    values = torch.ones(1000, 1000, dtype=torch.float16)
    torch.save({f"fc{i}.weight": values[i % 7 :] for i in range(500)}, tmp_path / "views.pt")
    assert "the tensors together" in refusal(tmp_path / "views.pt")


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


def test_zip_bombs_are_refused_before_they_unpack(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb"
    zeros = bytes(2**22)
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("config.json", "data.pkl"):
            archive.writestr(name, "{}")
        with archive.open("model.weights.h5", "w") as member:
            for _ in range(65):
                member.write(zeros)
    assert bomb.stat().st_size < 2**21
    for extension in (".npz", ".keras", ".pt"):
        path = bomb.with_suffix(extension)
        path.write_bytes(bomb.read_bytes())
        assert "would take" in refusal(path)


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


def test_safetensors_with_tensors_that_overlap(tmp_path: Path) -> None:
    data = bytes(4 * 10**6)
    entry = {"dtype": "F32", "shape": [1000, 1000], "data_offsets": [0, len(data)]}
    header = {f"fc{i}.weight": entry for i in range(3)}
    path = safetensors_file(tmp_path / "model.safetensors", header, data)
    assert "overlap" in refusal(path)


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


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_texts_longer_than_the_file(tmp_path: Path, libver: str) -> None:
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w", libver=libver) as file:
        file.create_group("layers/dense/vars").attrs["name"] = "a name of its own"
    content = path.read_bytes()
    assert damaged_texts(content) is None
    length = struct.pack("<I", len("a name of its own"))
    assert content.count(length) == 2, "in the attribute and in the heap"
    heap = content.index(b"GCOL")
    for place in (content.index(length), content.rindex(length)):
        if not heap < place < heap + 4096:
            path.write_bytes(content[:place] + b"\xff" * 4 + content[place + 4 :])
    with pytest.raises(UnreadableFileError, match="longer than the file"):
        read_weights(path)


@pytest.mark.parametrize("size", [0, 8, 2**64 - 16], ids=["nothing", "no head", "wraps around"])
def test_texts_that_hdf5_would_read_for_ever(tmp_path: Path, size: int) -> None:
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file.create_group("layers/dense/vars").attrs["name"] = "a name of its own"
    content = path.read_bytes()
    assert damaged_texts(content) is None
    first = content.index(b"GCOL") + 16
    number = 1 if size > 2**63 else 0
    damaged = content[:first] + struct.pack("<HHIQ", number, 0, 0, size) + content[first + 16 :]
    path.write_bytes(damaged)
    # Opened, not read: were it let through, reading would never end.
    for source in (None, io.BytesIO(damaged)):
        with pytest.raises(UnreadableFileError, match="without end"):
            SafeHdf5(str(path), source)


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
    assert "would take" in refusal(keras_weights)
    with h5py.File(keras_weights, "r+") as file:  # many that would pass one by one
        del file["layers/dense/vars/0"]
        for i in range(40):
            file.create_dataset(
                f"layers/dense/vars/{i + 2}", (1000, 10_000), "f4", chunks=(100, 100)
            )
    assert "the file would take" in refusal(keras_weights)


def test_hdf5_with_loops_groups_for_values_and_the_reverse(
    keras_weights: Path, tmp_path: Path
) -> None:
    with h5py.File(keras_weights, "r+") as file:
        for i in range(9):  # followed, it would never end
            file[f"layers/dense/again{i}"] = file["layers"]
    assert "more than one place" in refusal(keras_weights)
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
