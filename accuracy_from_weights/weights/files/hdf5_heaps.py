"""Checks of an HDF5 file's texts of variable length, made before its library reads them.

Keras names layers by such texts. They lie in "global heaps": a head of 16 bytes, then objects of a
size each; an attribute holds a text's length and its place. Of both the library (up to 2.0 at
least) believes too much. It adds the objects' sizes up until it has passed the heap's end, for ever
where one is nothing, and cannot be interrupted; and it asks for as much memory as an attribute says
the text is long, up to 4 GB, before it looks at the text.
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

# The type of a text, as h5py writes it, from its fourth byte on: 16 bytes each, made of bytes.
_TEXT_TYPE = bytes.fromhex("00 10000000 10000000 01000000 0000 0800")
_VARIABLE_LENGTH = 9
_LENGTH = struct.Struct("<I")


def damaged_texts(content: bytes | mmap.mmap) -> str | None:
    """Return what is wrong with the texts of a file, given as a whole; None where nothing is."""
    if _has_endless_heap(content):
        return "it would be read without end"
    if any(length > len(content) for length in _lengths(content)):
        return "a text in it is said to be longer than the file"
    return None


def _has_endless_heap(content: bytes | mmap.mmap) -> bool:
    walked = 0
    for start in _places(content, _SIGNATURE, _HEAD.size):
        place = start + _HEAD.size
        end = min(start + _HEAD.unpack_from(content, start)[2], len(content))
        while place + _OBJECT.size <= end:
            number, _, size = _OBJECT.unpack_from(content, place)
            # In unsigned 64 bits, as the library counts: free space has no head of its own.
            step = (size if number == _FREE else _OBJECT.size + -(-size // 8) * 8) % _WRAPPED
            walked += 1
            # So many objects that walking through them takes minutes are no sound file's either.
            if step < _OBJECT.size or walked > _MOST_OBJECTS:
                return True
            place += step
    return False


def _lengths(content: bytes | mmap.mmap) -> Iterator[int]:
    """Yield the lengths that attributes of a single text declare."""
    for found in _places(content, _TEXT_TYPE, 64):
        if found < 3 or content[found - 3] & 0x0F != _VARIABLE_LENGTH:
            continue
        # What follows is the attribute's shape, no axes, in either of its two forms; then the text.
        shape = found + len(_TEXT_TYPE)
        if content[shape] == 2:
            yield from _LENGTH.unpack_from(content, shape + 4)
        else:
            yield from _LENGTH.unpack_from(content, shape + 12)


def _places(content: bytes | mmap.mmap, pattern: bytes, room: int) -> Iterator[int]:
    """Yield where a pattern stands with so many bytes from its beginning to the file's end."""
    place = content.find(pattern)
    while 0 <= place <= len(content) - room:
        yield place
        place = content.find(pattern, place + 1)
