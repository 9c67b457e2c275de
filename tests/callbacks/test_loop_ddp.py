"""The monitor in two processes that train one network (DDP over gloo, on the CPU)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.callbacks.processes import LAUNCHER, run_python, seen_by_both

HERE = Path(__file__).parent


def test_two_processes_estimate_and_stop_alike(tmp_path):
    run_python(*LAUNCHER, HERE / "loop_two_processes.py", tmp_path, OMP_NUM_THREADS="1")
    first, second = seen_by_both(tmp_path)
    assert first["with"]["weights"] == first["without"]["weights"]
    assert first["with"]["weights"] == second["with"]["weights"]
    # Batch normalisation's statistics, which are folded in, are each process' own.
    assert first["with"]["estimates"] == pytest.approx(second["with"]["estimates"], abs=0.01)
    assert len(set(first["with"]["estimates"])) == 2
    assert first["stopped after"] == second["stopped after"] == 3
