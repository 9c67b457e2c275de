"""Tests that need Ray, which has a tox environment of its own (``tox -e ray``)."""

from __future__ import annotations

import importlib.util

# Ray is large and not part of the test environment: without it there is nothing to collect here.
collect_ignore_glob = [] if importlib.util.find_spec("ray") else ["test_*.py"]
