"""The callback in two processes that train one network (DDP over gloo, on the CPU)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_two_processes_log_stop_and_choose_alike(tmp_path, predictor_file):
    script = str(HERE / "two_processes.py")
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    run = subprocess.run(
        [sys.executable, "-m", *launcher, script, str(tmp_path), str(predictor_file)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first["processes"] == 2
    assert len(first["real"]) == 2
    assert first["weights"] == first["without"]
    assert first["early stopping"] == [4.0, 0.7, "checkpoint-8"]
    assert first["rule"] == 3.0
