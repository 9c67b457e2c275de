"""``estimate``: what it prints, and what it does about files that are not networks."""

from __future__ import annotations

import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from threadpoolctl import threadpool_limits

from accuracy_from_weights.features import description
from tests.cli.conftest import save_network


@pytest.fixture
def network(tmp_path):
    return save_network(tmp_path / "network.npz")


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_table(cli, network):
    result = cli("estimate", network)
    header, row = result.out.splitlines()
    assert header.split() == ["file", "accuracy", "low", "high", "in", "family"]
    name, accuracy, low, high, family, *_ = row.split()
    assert name == str(network)
    assert 0 <= float(low) <= float(accuracy) <= float(high) <= 1
    assert result.code == {"yes": 0, "no": 3}[family]


def test_json(cli, network):
    result = cli("estimate", network, network, "--json")
    first, second = json.loads(result.out)
    assert first == second
    assert first["file"] == str(network)
    assert 0 <= first["low"] <= first["accuracy"] <= first["high"] <= 1
    assert first["coverage"] == 0.9
    assert result.code == (0 if first["in_family"] else 3)


def test_a_folder_of_checkpoints_is_estimated_best_first(cli, tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for seed in range(3):
        save_network(folder / f"{seed}.npz", seed=seed)
    (folder / "notes.txt").write_text("no network")
    as_named = json.loads(cli("estimate", folder, "--json").out)
    assert [one["file"] for one in as_named] == [str(folder / f"{seed}.npz") for seed in range(3)]
    best_first = json.loads(cli("estimate", folder, "--sort", "--json").out)
    accuracies = [one["accuracy"] for one in as_named]
    assert [one["accuracy"] for one in best_first] == sorted(accuracies, reverse=True)


def test_a_folder_without_checkpoints_is_refused_in_one_sentence(cli, tmp_path):
    result = cli("estimate", tmp_path)
    assert result.code == 4
    assert "it is a folder without a checkpoint" in result.err


def test_part_picks_one_of_several_networks(cli, tmp_path):
    one, other = (
        dict(np.load(save_network(tmp_path / f"{seed}.npz", seed=seed))) for seed in (0, 1)
    )
    both = {f"{name}.{k}": v for name, s in (("net", one), ("ema", other)) for k, v in s.items()}
    np.savez(tmp_path / "both.npz", **both)
    refused = cli("estimate", tmp_path / "both.npz")
    assert refused.code == 1
    assert "'net' and 'ema'" in refused.err
    picked = json.loads(cli("estimate", tmp_path / "both.npz", "--part", "ema", "--json").out)
    alone = json.loads(cli("estimate", tmp_path / "1.npz", "--json").out)
    assert picked[0]["accuracy"] == alone[0]["accuracy"]


def test_outside_the_family_is_3_and_said_on_stderr(cli, tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "odd.npz"
    np.savez(path, **{"a.weight": rng.normal(size=(3, 2)) * 40, "b.weight": np.ones((7, 3)) * 9})
    result = cli("estimate", path, "--json")
    assert result.code == 3
    assert json.loads(result.out)[0]["in_family"] is False
    assert "1 of 1 networks look unlike" in result.err


def test_a_diverged_network_is_named_as_such(cli, tmp_path):
    path = tmp_path / "diverged.npz"
    with np.load(save_network(tmp_path / "network.npz")) as file:
        arrays = dict(file)
    first = next(iter(arrays))
    arrays[first] = np.full_like(arrays[first], np.nan)
    np.savez(path, **arrays)
    result = cli("estimate", path, "--json")
    (row,) = json.loads(result.out)
    assert row["condition"] == "diverged"
    assert np.isfinite(row["accuracy"])
    assert "Traceback" not in result.err


def test_many_files_in_order_whatever_the_number_of_processes(cli, tmp_path, network):
    files = [tmp_path / f"{i:03d}.npz" for i in range(25)]
    for i, file in enumerate(files):
        save_network(file, strength=i / 25, seed=i)
    with threadpool_limits(2):  # the processes have one thread each
        alone, together = (
            json.loads(cli("estimate", *files, "--json", "--jobs", jobs).out) for jobs in (1, 2)
        )
    assert [row["file"] for row in alone] == list(map(str, files))
    assert alone == together
    single = json.loads(cli("estimate", files[7], "--json").out)[0]
    # In company sums are rounded differently.
    assert single["accuracy"] == pytest.approx(alone[7]["accuracy"], abs=1e-4)


def test_networks_of_several_kinds_and_sizes_keep_their_places(cli, tmp_path):
    files = []
    for k, width in enumerate((8, 300, 9, 8, 300, 9, 8)):
        rng = np.random.default_rng(k)
        files.append(tmp_path / f"{k}.safetensors")
        shapes = {"0.weight": (width, 3, 3, 3), "1.weight": (width, width), "2.weight": (10, width)}
        save_file({n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()}, files[-1])
    files.insert(2, bad_text(tmp_path))
    together = json.loads(cli("estimate", *files, "--json").out)
    for file, row in zip(files, together, strict=True):
        (alone,) = json.loads(cli("estimate", file, "--json").out)
        assert alone.pop("file") == row.pop("file") == str(file)
        assert row == (alone if "error" in alone else pytest.approx(alone, abs=1e-4))


def test_large_layers_are_described_on_the_device_that_is_given(cli, tmp_path, monkeypatch):
    path = tmp_path / "wide.safetensors"
    rng = np.random.default_rng(0)
    shapes = {"a.weight": (300, 1, 3, 3), "b.weight": (200, 300, 3, 3), "c.weight": (10, 200)}
    save_file(
        {name: rng.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()},
        path,
    )
    expected = json.loads(cli("estimate", path, "--json").out)[0]
    described: list[torch.device] = []
    own = description.on_host

    def watched(values):
        if isinstance(values, torch.Tensor):
            described.append(values.device)
        return own(values)

    monkeypatch.setattr(description, "on_host", watched)
    # The only device of PyTorch's that every machine has, under a name that is not "cpu".
    found = json.loads(cli("estimate", path, "--json", "--device", "cpu:0").out)[0]
    assert described == [torch.device("cpu")]
    assert found["accuracy"] == pytest.approx(expected["accuracy"], abs=1e-4)
    assert found["low"] == pytest.approx(expected["low"], abs=1e-4)


@pytest.mark.parametrize("device", ["cuda:97", "meta", "nonsense"])
def test_a_device_that_cannot_be_used_is_said_in_one_sentence(cli, network, device):
    result = cli("estimate", network, "--device", device)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"Error: PyTorch cannot compute on {device!r} here (")
    assert result.err.count("\n") == 1


def bad_missing(tmp_path):
    return tmp_path / "missing.pt"


def bad_text(tmp_path):
    path = tmp_path / "text.pt"
    path.write_text("these are no weights\n")
    return path


def bad_bomb(tmp_path):
    path = tmp_path / "bomb.pt"
    torch.save({"a.weight": torch.ones(2, 2), "bomb": Bomb(tmp_path / "exploded")}, path)
    return path


def bad_bare_bomb(tmp_path):
    path = tmp_path / "bare.pth"
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    return path


def bad_object_array(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, weight=np.array([Bomb(tmp_path / "exploded")], dtype=object))
    return path


def bad_truncated(tmp_path):
    path = tmp_path / "truncated.safetensors"
    save_file({"a.weight": np.ones((30, 30), np.float32)}, path)
    path.write_bytes(path.read_bytes()[:500])
    return path


def bad_folder(tmp_path):
    path = tmp_path / "folder.pt"
    path.mkdir()
    return path


def bad_empty(tmp_path):
    path = tmp_path / "empty.keras"
    path.touch()
    return path


def bad_suffix(tmp_path):
    path = tmp_path / "weights.xyz"
    path.write_bytes(b"1234")
    return path


@pytest.mark.parametrize(
    "make",
    [
        bad_missing,
        bad_text,
        bad_bomb,
        bad_bare_bomb,
        bad_object_array,
        bad_truncated,
        bad_folder,
        bad_empty,
        bad_suffix,
    ],
    ids=lambda make: make.__name__.removeprefix("bad_"),
)
def test_bad_files_are_4_and_one_sentence_and_the_others_are_estimated(
    cli, tmp_path, network, make
):
    bad = make(tmp_path)
    result = cli("estimate", bad, network, "--json")
    assert result.code == 4
    wrong, right = json.loads(result.out)
    assert wrong["file"] == str(bad)
    assert "accuracy" not in wrong
    assert "accuracy" in right
    errors = [line for line in result.err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert bad.name in errors[0]
    assert "Traceback" not in result.err
    assert not (tmp_path / "exploded").exists()


def test_nothing_but_bad_files_prints_no_table(cli, tmp_path):
    result = cli("estimate", bad_text(tmp_path))
    assert (result.code, result.out) == (4, "")


@pytest.mark.parametrize("kind", ["missing", "text", "network"])
def test_a_bad_predictor_file_is_4(cli, tmp_path, network, kind):
    path = tmp_path / "predictor"
    if kind == "text":
        path.write_text("no predictor")
    elif kind == "network":
        shutil.copy(network, path)
    result = cli("estimate", network, "--predictor", path)
    assert result.code == 4
    assert result.out == ""
    assert result.err.startswith("Error: ")
    assert result.err.count("\n") == 1
