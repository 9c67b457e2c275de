"""Whatever a file holds, it is read or refused in one sentence, and runs no code."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accuracy_from_weights import load_predictor
from accuracy_from_weights.errors import AccuracyFromWeightsError
from accuracy_from_weights.io.archives import LARGEST_CONTENT
from accuracy_from_weights.zoo.reading import read_zoo
from accuracy_from_weights.zoo_training.datasets import load_images
from tests.weights.files.fuzzed_files import targets
from tests.weights.files.fuzzing import KINDS, Mutation, Target, restore, verdict

NAMES = (
    "predictor",
    "predictor, inside",
    "checkpoint.npz",
    "checkpoint.npz, inside",
    "checkpoint.pt",
    "checkpoint.pt, inside",
    "checkpoint.ckpt",
    "checkpoint.safetensors",
    "checkpoint.keras",
    "checkpoint.keras, inside",
    "checkpoint.weights.h5",
    "zoo/network.npz",
    "zoo/network.npz, inside",
    "zoo/zoo.json",
    "zoo/weights.npy",
    "zoo/metrics.csv.gz",
    "zoo/metrics.csv",
    "zoo/layout.csv",
    "zoo/table.npz",
    "zoo/table.npz, inside",
    "source/images.npz",
    "source/images.npz, inside",
    "source/train-images-idx3-ubyte",
    "source/paper.toml",
    "source/wild.toml",
    "source/universe.toml",
    "source/checkpoints.csv",
)

mutations = st.lists(
    st.builds(
        Mutation,
        st.sampled_from(KINDS),
        # Heads and tails of files say how the rest is to be read.
        st.one_of(st.floats(0, 0.05), st.floats(0, 1), st.floats(0.95, 1)),
        st.integers(0, 2**16),
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return targets(tmp_path_factory.mktemp("fuzzing"))


def test_every_kind_of_file_is_fuzzed(found: dict[str, Target]) -> None:
    assert set(found) == set(NAMES)
    for target in found.values():
        assert verdict(target, []) == "read"


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=mutations)
def test_damaged_files(name: str, changes: list[Mutation], found: dict[str, Target]) -> None:
    try:
        assert verdict(found[name], changes) in ("read", "refused")
    finally:
        restore(found[name])


def npy(header: str, content: bytes = b"") -> bytes:
    text = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + content


def with_member(content: bytes, name: str, data: bytes, times: int = 1) -> bytes:
    """The archive with one member's content replaced."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w") as new:
        for member in old.infolist():
            if member.filename != name:
                new.writestr(member.filename, old.read(member))
        for _ in range(times):
            new.writestr(name, data)
    return packed.getvalue()


ABSURD = {
    "a negative size": npy(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-4, -1), }", b"0" * 16
    ),
    "a petabyte": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 250000000), }"),
    "a pickle": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n."),
    "deep brackets": npy("{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 60, b""),
    "nothing": b"",
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", [*ABSURD, "two of one name"])
@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("predictor", "widths.npy"),
        ("zoo/network.npz", "weights/fc.weight.npy"),
        ("zoo/table.npz", "accuracy.npy"),
        ("source/images.npz", "x_train.npy"),
    ],
)
def test_absurd_members(name: str, member: str, kind: str, found: dict[str, Target]) -> None:
    target = found[name]
    data, times = (ABSURD["a petabyte"], 2) if kind == "two of one name" else (ABSURD[kind], 1)
    target.path.write_bytes(with_member(target.content, member, data, times))
    try:
        with pytest.raises(AccuracyFromWeightsError):
            target.read()
    finally:
        restore(target)


@pytest.mark.parametrize("fact", ["steps", "history", "index", "recipe", "diverged"])
def test_networks_that_lack_a_fact(fact: str, found: dict[str, Target]) -> None:
    target = found["zoo/network.npz"]
    with zipfile.ZipFile(io.BytesIO(target.content)) as archive:
        header = json.loads(archive.read("header.npy")[128:])
    del header[fact]
    text = json.dumps(header).encode()
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(text)},), }}"
    target.path.write_bytes(with_member(target.content, "header.npy", npy(head, text)))
    try:
        with pytest.raises(AccuracyFromWeightsError, match="facts that are missing"):
            target.read()
    finally:
        restore(target)


def bomb(path: Path) -> None:
    """An archive of a megabyte that would unpack to more than any file may."""
    zeros = bytes(2**24)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("facts.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(LARGEST_CONTENT // len(zeros) + 1):
            member.write(zeros)


def test_archives_that_expand_without_end(found: dict[str, Target], tmp_path: Path) -> None:
    bomb(tmp_path / "bomb.npz")
    with pytest.raises(AccuracyFromWeightsError, match="would take"):
        load_predictor(tmp_path / "bomb.npz")
    with pytest.raises(AccuracyFromWeightsError, match="would take"):
        read_zoo(tmp_path / "bomb.npz")
    with pytest.raises(AccuracyFromWeightsError, match="would take"):
        load_images(tmp_path / "bomb.npz")


def test_metrics_that_expand_without_end(
    found: dict[str, Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = found["zoo/metrics.csv.gz"]
    monkeypatch.setattr("accuracy_from_weights.io.archives.LARGEST_CONTENT", 2**20)
    lines = gzip.decompress(target.content).splitlines(keepends=True)
    target.path.write_bytes(gzip.compress(lines[0] + lines[1] * 400_000, 9))
    try:
        with pytest.raises(AccuracyFromWeightsError, match="would take"):
            target.read()
    finally:
        restore(target)


def test_columns_of_one_name_and_negative_shapes(found: dict[str, Target]) -> None:
    for name, old, new in (
        ("zoo/metrics.csv.gz", b"test_loss", b"test_accuracy"),
        ("zoo/layout.csv", b"(3, 3, 1, 4)", b"(-3, -3, 1, 4)"),
    ):
        target = found[name]
        is_packed = name.endswith(".gz")
        text = gzip.decompress(target.content) if is_packed else target.content
        assert old in text
        changed = text.replace(old, new, 1)
        target.path.write_bytes(gzip.compress(changed) if is_packed else changed)
        with pytest.raises(AccuracyFromWeightsError):
            target.read()
        restore(target)
