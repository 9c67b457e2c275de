"""Damaged files for every reader of the package, and what a reader may do with one.

A reader may read it, or raise one of the package's errors, in one sentence. Shared by
`tests/test_fuzzing.py` and by the longer runs in `benchmarks`. `fuzzed_files.py` makes the sound
files.
"""

from __future__ import annotations

import gzip
import io
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from accuracy_from_weights.errors import AccuracyFromWeightsError

DIGITS = b"0123456789"
PATTERNS = (b"\x00", b"\xff", b"\x7f", b"\x80", b"-", b"9" * 12, b"[" * 3000, b'"', b"\n", b"NaN")


@dataclass(frozen=True)
class Mutation:
    """One change: what kind, where (a fraction of the length), and a number it makes use of."""

    kind: str
    where: float
    number: int

    def apply(self, content: bytes) -> bytes:
        """Change some bytes."""
        place = min(int(self.where * len(content)), max(len(content) - 1, 0))
        pattern = PATTERNS[self.number % len(PATTERNS)]
        length = 1 + self.number % 16
        if self.kind == "flip" and content:
            flipped = bytes([content[place] ^ (1 << self.number % 8)])
            return content[:place] + flipped + content[place + 1 :]
        if self.kind == "digit":
            place = next((i for i in range(place, len(content)) if content[i] in DIGITS), place)
            return content[:place] + pattern + content[place + 1 :]
        changed = {
            "overwrite": content[:place] + pattern[:1] * length + content[place + length :],
            "insert": content[:place] + pattern + content[place:],
            "remove": content[:place] + content[place + length :],
            "repeat": content[: place + length] + content[place:],
            "truncate": content[:place],
        }
        return changed.get(self.kind, content)


KINDS = ("flip", "digit", "overwrite", "insert", "remove", "repeat", "truncate")


def inside_archive(content: bytes, mutations: Sequence[Mutation]) -> bytes:
    """Change members of a zip archive, their names included, and pack it well again."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(m.filename, archive.read(m)) for m in archive.infolist()]
    for mutation in mutations:
        k = mutation.number // 16 % len(members)
        name, data = members[k]
        if mutation.number % 16 == 15:
            renamed = mutation.apply(name.encode()).decode("latin-1").replace("\x00", "0")
            members[k] = (renamed[:1000] or "x", data)
        elif mutation.number % 16 == 14:
            members.append((name, data))
        elif mutation.number % 16 == 13 and len(members) > 1:
            del members[k]
        else:
            # Most of a member is numbers, in which any byte will do: aim at its head.
            head = data[:160]
            members[k] = (name, mutation.apply(head) + data[160:])
    packed = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # two members of one name
        for name, data in members:
            archive.writestr(name, data)
    return packed.getvalue()


def inside_gzip(content: bytes, mutations: Sequence[Mutation]) -> bytes:
    text = gzip.decompress(content)
    for mutation in mutations:
        text = mutation.apply(text)
    return gzip.compress(text, 1)


def as_bytes(content: bytes, mutations: Sequence[Mutation]) -> bytes:
    for mutation in mutations:
        content = mutation.apply(content)
    return content


@dataclass(frozen=True, repr=False)
class Target:
    """One kind of file.

    Attributes
    ----------
    content : bytes
        Of a sound file.
    path : Path
        Where it lies, others that belong to it around it.
    read : callable
        Reads what lies there and uses it.
    damage : callable
        Gives damaged content.
    """

    content: bytes
    path: Path
    read: Callable[[], object]
    damage: Callable[[bytes, Sequence[Mutation]], bytes] = as_bytes

    def __repr__(self) -> str:
        return f"{self.path.name}, {self.damage.__name__}"  # hypothesis shows it with a failure


_FORBIDDEN = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork")
_FORBIDDEN += ("pickle.find_class", "socket.connect", "shutil.rmtree", "os.remove", "os.rename")
_seen: list[str] = []
_is_watching = False


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if not _is_watching:
        return
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if event in _FORBIDDEN or writes:
        _seen.append(f"{event}{arguments}"[:300])


sys.addaudithook(_hook)


@contextmanager
def watching() -> Iterator[list[str]]:
    """Gather what a reader must not do: run a program, unpickle, connect, write or remove."""
    global _is_watching
    _seen.clear()
    _is_watching = True
    try:
        yield _seen
    finally:
        _is_watching = False


def verdict(target: Target, mutations: Sequence[Mutation]) -> str:
    """Have a damaged file read.

    Returns
    -------
    str
        ``"read"`` or ``"refused"``; anything else says what went wrong.
    """
    target.path.write_bytes(target.damage(target.content, mutations))
    try:
        with warnings.catch_warnings(), watching() as deeds:
            warnings.simplefilter("ignore")
            target.read()
        result = "read"
    except AccuracyFromWeightsError as error:
        sentence = str(error)
        is_sentence = sentence.endswith((".", "`", ")")) and "\n" not in sentence
        result = "refused" if is_sentence else f"no sentence: {sentence[:300]}"
    except Exception as error:  # noqa: BLE001 - any other is what is looked for
        result = f"{type(error).__name__}: {str(error)[:300]}"
    return f"forbidden: {deeds}" if deeds else result


def restore(target: Target) -> None:
    """Put the sound file back, since others are read beside it."""
    target.path.write_bytes(target.content)
