"""How well accuracy is estimated on a known data set, beside what is free, simple or published.

    python benchmarks/quality.py [zoo/table.npz] [--zoos FOLDER ...] [--cache FOLDER]

Fits this package's predictor and its rivals to two thirds of the runs of the paper's network on a
data set, and scores them on the other third, in turn: by data set and by epoch.
Needs `pip install --group study`; a column whose package or raw weights are missing is left out and
named. A run that was killed goes on where it stopped if it is given the same cache folder. Writes
benchmarks/results/quality.json, from which `python docs/make_numbers.py` makes the tables, numbers
and figures of the documentation.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from joblib import Memory
from quality_study.columns import Columns
from quality_study.raw_columns import Raw
from quality_study.splits import papers_networks
from quality_study.study import Settings, run_study

from accuracy_from_weights.zoo.reading import read_zoo

ROOT = Path(__file__).resolve().parents[1]


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("table", nargs="?", type=Path, default=ROOT / "zoo" / "table.npz")
    add("--zoos", nargs="*", type=Path, default=[], help="folders with raw weights of the table")
    add("--cache", type=Path, help="folder that keeps finished fits")
    add("--per-run", type=int, default=Settings.per_run, help="checkpoints of a run fitted on")
    add("--folds", type=int, default=Settings.n_folds, help="that calibrate the intervals")
    add("--weight-watcher", type=int, default=300, help="runs of each raw zoo that it looks at")
    add("--nfn", nargs="*", default=["mnist"], help="data sets to train nfn on")
    add("--nfn-steps", type=int, default=800, help="of 32 networks")
    add("--json", type=Path, default=ROOT / "benchmarks" / "results" / "quality.json")
    return parser


def main() -> None:
    arguments = parser().parse_args()

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    table = papers_networks(read_zoo(arguments.table))
    memory = Memory(arguments.cache, verbose=0)
    watched, nfn = arguments.weight_watcher, arguments.nfn
    raw = Raw(table, arguments.zoos, memory, watched, nfn, arguments.nfn_steps)
    columns = Columns(table, memory, raw, arguments.folds)
    for name, why in columns.left_out.items():
        tell(f"left out: {name}. {why}")
    settings = Settings(arguments.per_run, arguments.folds)
    results = run_study(table, columns, settings, tell)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    rows = json.dumps(results, ensure_ascii=False).replace('}, {"', '},\n{"')
    arguments.json.write_text(rows + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
