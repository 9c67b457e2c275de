"""How many files of weights ``accuracy-from-weights estimate`` gets through in a second.

``python benchmarks/many_files.py`` writes a thousand files of the paper's network, half of them
``.pt`` and half ``.safetensors``, into a temporary folder. It times the command with one and with
two processes, start and all, beside a plain loop that only reads the files. On a machine that does
other work besides, the seconds of processors are the ones to go by. A few minutes at most.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import networks
import torch
from safetensors.torch import load_file, save_file


def write_files(folder: Path, n_files: int) -> list[Path]:
    """Write networks of different weights, in the two formats by turns."""
    files = []
    for k in range(n_files):
        torch.manual_seed(k)
        state = networks.paper_network().state_dict()
        files.append(folder / f"{k:05d}{('.pt', '.safetensors')[k % 2]}")
        if k % 2:
            save_file(state, files[-1])
        else:
            torch.save(state, files[-1])
    return files


def read(files: Sequence[Path]) -> None:
    """Read the files, and look at nothing."""
    for file in files:
        if file.suffix == ".pt":
            torch.load(file, map_location="cpu", weights_only=True)
        else:
            load_file(file)


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Time by the clock, and of processors: this process's and its children's."""
    clock, used = time.perf_counter(), sum(os.times()[:4])
    work()
    return time.perf_counter() - clock, sum(os.times()[:4]) - used


def estimate(files: Sequence[Path], jobs: int) -> None:
    """Run the command as a user would, one thread a process."""
    command = [sys.executable, "-m", "accuracy_from_weights", "estimate", "--json"]
    done = subprocess.run(
        [*command, "--jobs", str(jobs), *map(str, files)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    # 3: estimated, but unlike the networks that the predictor knows. These have not been trained.
    if done.returncode not in (0, 3) or len(json.loads(done.stdout)) != len(files):
        raise SystemExit(done.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), options.files)
        works: dict[str, Callable[[], object]] = {
            "only read": lambda: read(files),
            "start of the command": lambda: estimate(files[:1], 1),
            "estimate --jobs 1": lambda: estimate(files, 1),
            "estimate --jobs 2": lambda: estimate(files, 2),
        }
        times: dict[str, list[tuple[float, float]]] = {what: [] for what in works}
        for _ in range(options.rounds):  # in turn, so that a busy machine slows all alike
            for what, work in works.items():
                times[what].append(seconds(work))
    print(f"{options.files} files, {os.cpu_count()} cores, torch {torch.__version__}")
    print(f"{'':20s} {'seconds':>16s} {'of processors':>16s} {'files a second':>16s}")
    for what, found in times.items():
        spreads = [f"{min(some):.2f} to {max(some):.2f}" for some in zip(*found, strict=True)]
        rate = "" if what.startswith("start") else f"{options.files / min(found)[0]:.0f}"
        print(f"{what:20s} {spreads[0]:>16s} {spreads[1]:>16s} {rate:>16s}")


if __name__ == "__main__":
    main()
