"""Feed damaged files to every reader of the package for some minutes, and count what happens.

``python benchmarks/fuzz.py --seconds 600 --seed 1``. Each reader runs in a process of its own with
little memory to allocate, so that a crash of a C library and a gigabyte asked for are seen, too.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("KERAS_BACKEND", "torch")

from tests.weights.files.fuzzed_files import targets
from tests.weights.files.fuzzing import KINDS, Mutation, verdict

ADDRESS_SPACE = 6 * 2**30
SLOW, LARGE = 10, 300  # seconds and MB that one input of a few kilobytes may not take
PATIENCE = 120  # seconds that one input may take; a reader that takes longer is ended


def random_mutations(rng: random.Random) -> list[Mutation]:
    def place() -> float:
        return rng.choice((rng.random(), rng.random() * 0.05, 1 - rng.random() * 0.05))

    n = rng.choice((1, 1, 2, 4, 8))
    return [Mutation(rng.choice(KINDS), place(), rng.randrange(2**16)) for _ in range(n)]


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fuzz(name: str, seconds: float, seed: int, report: Connection) -> None:
    """Damage one kind of file until the time is up; tell of each problem and, last, the counts."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    rng = random.Random(f"{seed}/{name}")
    counts: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        target = targets(Path(folder))[name]
        verdict(target, [])
        before = peak_mb()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            mutations = random_mutations(rng)
            report.send(("trying", repr(mutations)))
            start, held = time.perf_counter(), peak_mb()
            result = verdict(target, mutations)
            took, taken = time.perf_counter() - start, peak_mb() - held
            slowest = max(slowest, took)
            if took > SLOW or taken > LARGE:
                result = f"{took:.0f} s and {taken:.0f} MB"
            counts[result if result in ("read", "refused") else "problem"] += 1
            if result not in ("read", "refused"):
                report.send(("problem", f"{result} from {mutations}"))
        grown = peak_mb() - before
    report.send(("done", json.dumps({**counts, "slowest_s": slowest, "grown_mb": grown})))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("names", nargs="*", help="kinds of files; all of them if none is named")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        names = options.names or list(targets(Path(folder)))
    context = multiprocessing.get_context("spawn")
    total: Counter[str] = Counter()
    for name in names:
        receiver, sender = context.Pipe(duplex=False)
        arguments = (name, options.seconds / len(names), options.seed, sender)
        process = context.Process(target=fuzz, args=arguments)
        process.start()
        sender.close()
        facts, last, problems = {}, "", set()
        while True:
            if not receiver.poll(PATIENCE):
                process.kill()
            try:
                kind, text = receiver.recv()
            except EOFError:
                break
            if kind == "trying":
                last = text
            elif kind == "done":
                facts = json.loads(text)
            elif text.split(" from [")[0] not in problems:
                problems.add(text.split(" from [")[0])
                print(f"  {name}: {text[:600]}")
        process.join()
        if process.exitcode:
            facts = {"crash": 1}
            print(f"  {name}: the process ended with {process.exitcode} on {last}")
        print(name, json.dumps(facts), flush=True)
        total.update({k: n for k, n in facts.items() if k not in ("slowest_s", "grown_mb")})
    print(f"inputs tried: {total.total():,}: {dict(total)}")


if __name__ == "__main__":
    main()
