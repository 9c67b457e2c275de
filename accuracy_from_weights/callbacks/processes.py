"""Processes that train one network together by PyTorch."""

from __future__ import annotations

import sys


def rank_and_number() -> tuple[int, int]:
    """Return which of them this process is, from 0, and how many there are; (0, 1) if alone."""
    torch = sys.modules.get("torch")
    group = None if torch is None else torch.distributed
    if group is None or not (group.is_available() and group.is_initialized()):
        return 0, 1
    return group.get_rank(), group.get_world_size()
