"""A group of one process, which shards a network's weights as many processes would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch.distributed
from torch.distributed.tensor import DeviceMesh


@contextmanager
def group_of_one(folder: Path) -> Iterator[DeviceMesh]:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=0, world_size=1
    )
    try:
        yield DeviceMesh("cpu", [0])
    finally:
        torch.distributed.destroy_process_group()
