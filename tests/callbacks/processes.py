"""Runs of Python in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

LAUNCHER = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def run_python(*arguments: str | Path, **environment: str) -> str:
    """Return what Python prints with these arguments; fail with all of it where Python fails."""
    run = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def seen_by_both(folder: Path) -> tuple[Any, Any]:
    """Return what each of two processes has written to its file in a folder."""
    first, second = (json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1))
    return first, second
