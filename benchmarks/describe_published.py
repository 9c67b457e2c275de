"""Describe a zoo of the published size: 270,000 checkpoints, 5.4 GB of weights.

    python benchmarks/describe_published.py [--rows 270000] [--jobs 2]

A synthetic zoo in the published format is made in a temporary folder and described as ``retrain``
does it. Prints the time and the memory of all processes together at its highest. Runs on Linux.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from accuracy_from_weights.zoo.metrics import write_metrics
from accuracy_from_weights.zoo.published import Variable, write_layout
from accuracy_from_weights.zoo.reading import read_zoo

STEPS = (0, 1, 2, 3, 20, 40, 60, 80, 86)
SHAPES = {
    "conv2d": (3, 3, 1, 16),
    "conv2d_1": (3, 3, 16, 16),
    "conv2d_2": (3, 3, 16, 16),
    "dense": (16, 10),
}


def make_zoo(folder: Path, n_rows: int) -> None:
    """Write weights that differ in scale from network to network, as trained ones do."""
    rng = np.random.default_rng(0)
    layout: list[Variable] = []
    column = 0
    for layer, shape in SHAPES.items():
        for role, role_shape in (("bias", shape[-1:]), ("kernel", shape)):
            end = column + int(np.prod(role_shape))
            layout.append(Variable(f"sequential/{layer}/{role}:0", column, end, role_shape))
            column = end
    write_layout(folder / "layout.csv", tuple(layout))
    weights = np.lib.format.open_memmap(
        folder / "weights.npy", "w+", np.dtype("float32"), (n_rows, column)
    )
    noise = rng.standard_normal((2000, column), dtype=np.float32)
    for start in range(0, n_rows, len(noise)):
        stop = min(start + len(noise), n_rows)
        scales = rng.uniform(0.01, 0.5, (stop - start, 1)).astype(np.float32)
        weights[start:stop] = scales * np.roll(noise, start // len(noise), axis=1)[: stop - start]
    weights.flush()

    def lines() -> Iterator[list[object]]:
        for row in range(n_rows):
            run, place = divmod(row, len(STEPS))
            recipe = [f"{0.0005 * (1 + run % 100):g}", ("adam", "sgd", "rmsprop")[run % 3]]
            accuracy = round(float(rng.uniform(0.1, 0.99)), 4)
            name = f"/a/folder/as/long/as/theirs/{run // 100:03d}/{run:06d}"
            yield [*recipe, name, STEPS[place], accuracy, 1.5, accuracy, 1.5]

    header = ["config.learning_rate", "config.optimizer", "modeldir", "step"]
    header += ["test_accuracy", "test_loss", "train_accuracy", "train_loss"]
    write_metrics(folder / "metrics.csv.gz", header, lines())


class Watch(threading.Thread):
    """Adds up resident memory and processor time of this process and its children, over and over.

    On a machine that others use as well, processor time says more than the clock.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.highest = 0
        self.processor: dict[int, float] = {}

    def run(self) -> None:
        """Look until the process ends."""
        page, tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
        while True:
            parents, sizes, spent = {}, {}, {}
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    fields = (folder / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                pid = int(folder.name)
                parents[pid], sizes[pid] = int(fields[1]), int(fields[21])
                spent[pid] = (int(fields[11]) + int(fields[12])) / tick
            ours = {os.getpid()}
            while more := {child for child, parent in parents.items() if parent in ours} - ours:
                ours |= more
            self.processor |= {pid: spent[pid] for pid in ours if pid in spent}
            self.highest = max(self.highest, page * sum(sizes.get(pid, 0) for pid in ours))
            time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=270_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to make the temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        make_zoo(folder, options.rows)
        size = (folder / "weights.npy").stat().st_size
        print(f"{options.rows:,} checkpoints, {size / 1e9:.2f} GB, {options.jobs} processes")
        watch = Watch()
        watch.start()
        begun, before = time.perf_counter(), time.process_time()
        table = read_zoo(folder, n_jobs=options.jobs)
        seconds = time.perf_counter() - begun
        processor = sum(watch.processor.values()) - before
        print(f"described in {seconds:.0f} s ({options.rows / seconds:,.0f} checkpoints a second)")
        print(f"{processor:.0f} s of processor time, {1000 * processor / options.rows:.2f} ms each")
        print(f"{table.features.shape[1]} features; memory at most {watch.highest / 1e9:.2f} GB")
        begun = time.perf_counter()
        table.save(folder / "table.npz")
        size = (folder / "table.npz").stat().st_size
        print(f"saved in {time.perf_counter() - begun:.0f} s, {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
