"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from accuracy_from_weights.errors import AccuracyFromWeightsError


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path of a temporary file beside `path`, and move it there when the block is done.

    The content is on the disk before the name changes, and the name is on the disk when this
    returns. When the block raises, `path` is left as it was and the temporary file is removed. Two
    writers at once do not mix: the later one wins. `OSError` says that the file cannot be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Flush the folder's list of names to disk; Windows has no such call and needs none."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_can_be_written(path: str | os.PathLike[str], what: str) -> None:
    """Raise `AccuracyFromWeightsError` when no file can be made in the folder of `path`.

    Access rights do not tell: root passes all of them, on a disk that is mounted read-only, too.
    """
    try:
        tempfile.TemporaryFile(dir=Path(path).parent).close()
    except OSError as error:
        raise AccuracyFromWeightsError(
            f"{what} cannot be written to {path}: name a folder that exists and can be written to."
        ) from error
