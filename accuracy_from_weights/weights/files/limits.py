"""How much a file may claim to hold, checked before anything is allocated for it."""

from __future__ import annotations

import zipfile
from collections.abc import Collection

from accuracy_from_weights.errors import UnreadableFileError

FLOOR_BYTES = 256 * 2**20
"""What any file may unpack to, however small it is."""

MAX_EXPANSION = 100
"""Beyond the floor: bytes in memory for each byte stored. Trained weights hardly compress at all,
so that even zeros among them stay far below it, while a bomb of zeros reaches 1000."""


def unreadable(path: str, reason: str) -> UnreadableFileError:
    """Return the error of a file that cannot be read; the reason is a clause of its own."""
    return UnreadableFileError(f"{path!r} cannot be read as a network's weights: {reason}.")


def check_size(path: str, declared: int, stored: int, what: str) -> None:
    """Refuse absurd sizes.

    Parameters
    ----------
    path : str
    declared : int
        Bytes that the file says it unpacks to.
    stored : int
        Bytes that it takes up.
    what : str
        Whose size it is, for the message.

    Raises
    ------
    UnreadableFileError
        When it declares more than the floor and more than the largest expansion allows.
    """
    if declared > max(FLOOR_BYTES, MAX_EXPANSION * stored):
        raise unreadable(
            path,
            f"{what} declares {declared:,} bytes where {stored:,} are stored, "
            "more than any trained network does",
        )


def check_archive(path: str, archive: zipfile.ZipFile, stored: int) -> None:
    """Refuse zip archives that unpack to absurd sizes, or that hold two members of one name.

    Raises
    ------
    UnreadableFileError
    """
    members = archive.infolist()
    check_size(path, sum(member.file_size for member in members), stored, "the archive")
    repeated = _repeated([member.filename for member in members])
    if repeated is not None:
        raise unreadable(path, f"it is an archive that holds two members named {repeated!r}")
    if any(member.flag_bits & 0x1 for member in members):
        raise unreadable(path, "it is an archive that is encrypted")


def _repeated(names: Collection[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
