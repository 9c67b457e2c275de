"""The monitor in two processes that train one network (DDP over gloo, on the CPU)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def test_two_processes_estimate_and_stop_alike(tmp_path):
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = str(HERE / "loop_two_processes.py")
    run = subprocess.run(
        [sys.executable, "-m", *launcher, script, str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first["with"]["weights"] == first["without"]["weights"]
    assert first["with"]["weights"] == second["with"]["weights"]
    # Batch normalisation's statistics, which are folded in, are each process' own.
    assert first["with"]["estimates"] == pytest.approx(second["with"]["estimates"], abs=0.01)
    assert len(set(first["with"]["estimates"])) == 2
    assert first["stopped after"] == second["stopped after"] == 3
