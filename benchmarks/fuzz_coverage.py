"""Damage files as coverage of the readers suggests, by atheris, and count what happens.

    pip install atheris
    python benchmarks/fuzz_coverage.py [--seconds 60] [READER ...]

For the readers that are Python all through: what the HDF5 and the PyTorch libraries do with damage
cannot be seen from here. Each reader runs in a process of its own and begins with a sound file. An
input must be read or refused, as in `fuzz.py`; the first that is not ends its reader's run.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import atheris
import click

TESTS = Path(__file__).parent.parent / "tests"
sys.path.insert(0, str(TESTS.parent))

# Only the processes that fuzz are slowed down by being watched.
watched = atheris.instrument_imports(include=["accuracy_from_weights"])
with watched if "--one" in sys.argv else contextlib.nullcontext():
    from tests.weights.files.fuzzed_files import (
        array_files,
        predictor_file,
        source_files,
        zoo_files,
    )
    from tests.weights.files.fuzzing import Target, verdict

    for late in ("paper", "wild", "wild_architecture"):
        importlib.import_module(f"accuracy_from_weights.zoo.{late}")

MEMBERS = {
    "predictor": "widths.npy",
    "zoo/network.npz": "header.npy",
    "zoo/table.npz": "head.npy",
    "source/images.npz": "x_train.npy",
    "checkpoint.npz": "conv.weight.npy",
}
LINE = re.compile(r"cov: (\d+) ft: (\d+)")


def with_member(archive: bytes, name: str, content: bytes) -> bytes:
    """Pack an archive again with another content of one member."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(packed, "w") as new:
        for member in old.namelist():
            new.writestr(member, content if member == name else old.read(member))
    return packed.getvalue()


def readers(folder: Path) -> dict[str, Target]:
    """Sound files by name; of archives one member is what is damaged."""
    found = {"predictor": predictor_file(folder), **array_files(folder)}
    found |= zoo_files(folder) | source_files(folder)
    for name, member in MEMBERS.items():
        archive = found[name].content
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            content = opened.read(member)

        def pack(
            damaged: bytes, _: object, archive: bytes = archive, member: str = member
        ) -> bytes:
            return with_member(archive, member, damaged)

        found[f"{name}, {member}"] = replace(found[name], content=content, damage=pack)
    return found


def run_one(name: str, seconds: int) -> None:
    """Become libFuzzer, which ends the process itself."""
    with tempfile.TemporaryDirectory() as folder:
        target = readers(Path(folder))[name]
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        (corpus / "sound").write_bytes(target.content)

        def try_one(content: bytes) -> None:
            result = verdict(replace(target, content=content), [])
            if result not in ("read", "refused"):
                raise AssertionError(result)

        options = [f"-max_total_time={seconds}", "-print_final_stats=1", "-rss_limit_mb=4096"]
        options += [f"-max_len={4 * len(target.content)}", "-timeout=20", str(corpus)]
        atheris.Setup([sys.argv[0], *options], try_one)
        atheris.Fuzz()


@click.command()
@click.option("--seconds", default=60, show_default=True, help="for each reader")
@click.option("--one", is_flag=True, hidden=True)
@click.argument("names", nargs=-1)
def main(seconds: int, one: bool, names: tuple[str, ...]) -> None:
    if one:
        run_one(names[0], seconds)
        return
    with tempfile.TemporaryDirectory() as folder:
        names = names or tuple(readers(Path(folder)))
    total = crashed = 0
    for name in names:
        command = [sys.executable, __file__, "--one", "--seconds", str(seconds), name]
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        said = done.stdout + done.stderr
        seen = LINE.findall(said)
        tried = re.search(r"number_of_executed_units: (\d+)", said)
        n = int(tried[1]) if tried else 0
        total, crashed = total + n, crashed + bool(done.returncode)
        facts = {"inputs": n, "edges": [seen[0][0], seen[-1][0]] if seen else None}
        click.echo(f"{name} {json.dumps(facts)}")
        if done.returncode:
            reason = said.partition("Uncaught Python exception")[2] or said
            click.echo(f"  ended with {done.returncode}: {reason[:3000]}")
    click.echo(f"inputs tried: {total:,}; readers that failed: {crashed}")


if __name__ == "__main__":
    main()
