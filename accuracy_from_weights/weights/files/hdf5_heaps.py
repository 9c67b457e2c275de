"""HDF5's heaps of texts, walked before the library does, which walks a damaged one for ever.

Texts of any length (Keras names its layers by them) lie in "global heaps": a head of 16 bytes,
then objects of a size each. The library (up to 2.0 at least) adds these sizes up until it has
passed the heap's end; where one is nothing, it never gets there and cannot be interrupted.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator

_SIGNATURE = b"GCOL"
_HEAD = struct.Struct("<4sB3xQ")  # signature, version, size of the heap
_OBJECT = struct.Struct("<HH4xQ")  # number, references, size; its bytes follow
_FREE = 0
_WRAPPED = 2**64
_MOST_OBJECTS = 10_000_000


def endless_heap(content: bytes | mmap.mmap) -> int | None:
    """Find a heap that has no end.

    Parameters
    ----------
    content : bytes or mmap
        The whole file.

    Returns
    -------
    int or None
        Where in the file it begins; None where there is none. So many objects that walking through
        them would take minutes count as none that ends.
    """
    walked = 0
    for start in _places(content):
        place = start + _HEAD.size
        end = min(start + _HEAD.unpack_from(content, start)[2], len(content))
        while place + _OBJECT.size <= end:
            number, _, size = _OBJECT.unpack_from(content, place)
            # In unsigned 64 bits, as the library counts: free space has no head of its own.
            step = (size if number == _FREE else _OBJECT.size + -(-size // 8) * 8) % _WRAPPED
            walked += 1
            if step < _OBJECT.size or walked > _MOST_OBJECTS:
                return start
            place += step
    return None


def _places(content: bytes | mmap.mmap) -> Iterator[int]:
    place = content.find(_SIGNATURE)
    while 0 <= place <= len(content) - _HEAD.size:
        yield place
        place = content.find(_SIGNATURE, place + 1)
