"""Networks in several files and in folders: the whole network, or none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch
from keras.src.saving import saving_lib
from safetensors.torch import save_file
from torch import nn

from accuracy_from_weights.errors import UnreadableFileError, UnsupportedModelError
from accuracy_from_weights.weights import read_weights
from tests.weights.comparing import assert_same_layers, refusal


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Linear(8, 4))


def write_shards(folder: Path, extension: str, prefix: str = "") -> tuple[list[Path], Path]:
    """The network in two files and their index, as transformers names them."""
    state = {prefix + name: tensor for name, tensor in network().state_dict().items()}
    stem = "model" if extension == ".safetensors" else "pytorch_model"
    names = [f"{stem}-0000{i}-of-00002{extension}" for i in (1, 2)]
    pieces = [dict(list(state.items())[:4]), dict(list(state.items())[4:])]
    for name, piece in zip(names, pieces, strict=True):
        if extension == ".safetensors":
            save_file(piece, folder / name)
        else:
            torch.save(piece, folder / name)
    weight_map = {key: name for name, piece in zip(names, pieces, strict=True) for key in piece}
    index = folder / f"{stem}{extension}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return [folder / name for name in names], index


@pytest.mark.parametrize("extension", [".safetensors", ".bin"])
def test_one_shard_an_index_or_their_folder_is_the_whole_network(
    extension: str, tmp_path: Path
) -> None:
    shards, index = write_shards(tmp_path, extension)
    for source in (*shards, index, tmp_path):
        assert_same_layers(read_weights(source), read_weights(network()))
    index.rename(tmp_path / "elsewhere.json")
    for shard in shards:
        assert "one of several files" in refusal(shard)
    assert "folder" in refusal(tmp_path)


def test_a_part_of_a_network_in_several_files(tmp_path: Path) -> None:
    write_shards(tmp_path, ".safetensors", prefix="encoder.")
    assert_same_layers(read_weights(tmp_path, "encoder"), read_weights(network()))


def test_damaged_sets_of_shards(tmp_path: Path) -> None:
    shards, index = write_shards(tmp_path, ".safetensors")
    good = json.loads(index.read_text())
    for weight_map, words in (
        ({**good["weight_map"], "9.weight": shards[0].name}, "in none of its files"),
        ({**good["weight_map"], "9.weight": "../secret.safetensors"}, "no file beside it"),
        ({**good["weight_map"], "9.weight": "third.safetensors"}, "missing"),
        ({**good["weight_map"], "9.weight": 3}, "damaged"),
        ({**good["weight_map"], "9.weight": index.name}, "no file of weights"),
        ({}, "weight_map"),
        ([1, 2], "weight_map"),
    ):
        index.write_text(json.dumps({"weight_map": weight_map}))
        assert words in refusal(index)
    index.write_text("{")
    assert "damaged" in refusal(index)
    index.write_text(json.dumps(good))
    shards[1].unlink()
    assert "missing" in refusal(index)


def test_slices_of_tensors_are_refused(tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "consolidated.00.pth")
    assert len(read_weights(tmp_path / "consolidated.00.pth").layers) == 2
    shutil.copy(tmp_path / "consolidated.00.pth", tmp_path / "consolidated.01.pth")
    for name in ("consolidated.00.pth", "consolidated.01.pth"):
        with pytest.raises(UnreadableFileError, match="sliced"):
            read_weights(tmp_path / name)


def keras_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(8, 3),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(40),
            layers.ReLU(),
            layers.Dense(40),
            layers.Dense(5),
        ]
    )


def write_keras_shards(model: keras.Model, folder: Path) -> list[Path]:
    model.save_weights(folder / "model.weights.json", max_shard_size=0.00002)  # gigabytes
    shards = sorted(folder.glob("*.weights.h5"))
    assert len(shards) > 1
    return shards


def test_keras_shards(tmp_path: Path) -> None:
    model = keras_model()
    shards = write_keras_shards(model, tmp_path)
    expected = read_weights(model)
    for source in (*shards, tmp_path / "model.weights.json", tmp_path):
        assert_same_layers(read_weights(source), expected)
    (tmp_path / "model.weights.json").unlink()
    for shard in shards:
        alone = tmp_path / f"alone_{shard.name[6:11]}x.weights.h5"
        shutil.copy(shard, alone)
        assert "one of several files" in refusal(shard)
        assert "one of several files" in refusal(alone)


def test_a_missing_shard_of_keras(tmp_path: Path) -> None:
    shards = write_keras_shards(keras_model(), tmp_path)
    with h5py.File(shards[0], "r+") as file:
        del file["layers/conv2d"]
    assert "in none of its files" in refusal(tmp_path / "model.weights.json")
    shards[0].unlink()
    assert "missing" in refusal(tmp_path / "model.weights.json")


def test_a_numbered_checkpoint_is_no_shard(tmp_path: Path) -> None:
    model = keras_model()
    for epoch in (0, 1):
        model.save_weights(tmp_path / f"epoch_{epoch:05d}.weights.h5")
    assert_same_layers(read_weights(tmp_path / "epoch_00000.weights.h5"), read_weights(model))


def test_a_folder_of_keras(tmp_path: Path) -> None:
    model = keras_model()
    saving_lib.save_model(model, tmp_path / "folder", zipped=False)
    assert_same_layers(read_weights(tmp_path / "folder"), read_weights(model))
    with h5py.File(tmp_path / "folder/model.weights.h5") as file:
        assert "vars" in file
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    other.save_weights(tmp_path / "folder/task.weights.h5")  # KerasHub's classifier
    assert_same_layers(read_weights(tmp_path / "folder"), read_weights(other))


def test_a_folder_of_transformers(tmp_path: Path) -> None:
    state: dict[str, Any] = network().state_dict()
    (tmp_path / "config.json").write_text("{}")
    torch.save({"rng": torch.ones(3)}, tmp_path / "rng_state.pth")
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert_same_layers(read_weights(tmp_path), read_weights(network()))
    save_file({f"bert.{k}": 2 * v for k, v in state.items()}, tmp_path / "model.safetensors")
    doubled = read_weights(tmp_path).layers[-1].kernel
    np.testing.assert_array_equal(doubled, 2 * state["3.weight"])


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("model_index.json", "diffusers"),
        ("zero_to_fp32.py", "DeepSpeed"),
        (".metadata", "distributed checkpoint"),
        ("saved_model.pb", "SavedModel"),
        ("_METADATA", "Orbax"),
        ("MLmodel", "MLflow"),
        ("checkpoint-500/model.safetensors", "such as checkpoint-500"),
        ("last.ckpt", "'last.ckpt'"),
        ("notes.txt", "without a checkpoint"),
    ],
)
def test_other_folders_are_refused_with_words_that_fit(
    file: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    assert words in refusal(tmp_path)


def test_a_folder_of_an_adapter_holds_no_network(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").touch()
    with pytest.raises(UnsupportedModelError, match="merge"):
        read_weights(tmp_path)
