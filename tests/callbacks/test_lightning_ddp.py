"""The Lightning callback in two processes that train one network (DDP over gloo, on the CPU)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_two_processes_log_stop_and_choose_alike(tmp_path, predictor_file):
    script = Path(__file__).with_name("two_processes.py")
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(predictor_file)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    (estimate, weights), without = first["real"], first["without"]
    assert second["real"] == first["real"]
    assert weights == without == second["without"]
    assert 0 < estimate < 1
    assert first["early stopping"] == second["early stopping"] == [4, "epoch=1.ckpt"]
    assert first["rule"] == [2, False]
    assert second["rule"] == [2, True]
    assert first["failure"] == second["failure"] == 3
    assert "stopped at step 1" in run.stdout
