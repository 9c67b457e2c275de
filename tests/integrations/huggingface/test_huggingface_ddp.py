"""The callback in two processes that train one network (DDP over gloo, on the CPU)."""

from __future__ import annotations

from pathlib import Path

from tests.callbacks.processes import LAUNCHER, run_python, seen_by_both

HERE = Path(__file__).parent


def test_two_processes_log_stop_and_choose_alike(tmp_path, predictor_file):
    script = HERE / "two_processes.py"
    run_python(*LAUNCHER, script, tmp_path, predictor_file, OMP_NUM_THREADS="1")
    first, second = seen_by_both(tmp_path)
    assert first == second
    assert first["processes"] == 2
    assert len(first["real"]) == 2
    assert first["weights"] == first["without"]
    assert first["early stopping"] == [4.0, 0.7, "checkpoint-8"]
    assert first["rule"] == 3.0
    assert first["estimates"] == 2
