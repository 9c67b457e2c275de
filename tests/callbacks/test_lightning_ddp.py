"""The Lightning callback in two processes that train one network (DDP over gloo, on the CPU)."""

from __future__ import annotations

from pathlib import Path

from tests.callbacks.processes import run_python, seen_by_both


def test_two_processes_log_stop_and_choose_alike(tmp_path, predictor_file):
    script = Path(__file__).with_name("two_processes.py")
    environment = {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    printed = run_python(script, tmp_path, predictor_file, **environment)
    first, second = seen_by_both(tmp_path)
    (estimate, weights), without = first["real"], first["without"]
    assert second["real"] == first["real"]
    assert weights == without == second["without"]
    assert 0 < estimate < 1
    assert first["early stopping"] == second["early stopping"] == [4, "epoch=1.ckpt"]
    assert first["rule"] == [2, False]
    assert second["rule"] == [2, True]
    assert first["failure"] == second["failure"] == 3
    assert first["estimates"] == second["estimates"] == 4
    assert "stopped at step 1" in printed
