"""Texts as tokens: lines of Python's library, names of characters, and surnames."""

from __future__ import annotations

import importlib
import re
import sys
import sysconfig
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.unseen.tables import package_folder

Tokens = NDArray[np.int64]

_PACKAGES = ("asyncio", "email", "importlib", "multiprocessing", "unittest", "xml")
_CATEGORIES = ("Ll", "Lu", "Lo", "Mn", "Nd", "No", "Po", "Sm", "So")
_LOCALES = ("cs_CZ", "da_DK", "de_DE", "es_ES", "fi_FI", "fr_FR", "hu_HU", "it_IT")
_LOCALES += ("nl_NL", "pl_PL", "ro_RO", "tr_TR")


def code_characters() -> tuple[Tokens, NDArray[np.str_]]:
    """Return lines of Python's library, character by character, and the packages they are from."""
    pairs = [(line, package) for package, lines in _code().items() for line in lines]
    return _numbered([line for line, _ in pairs], 60, 96), np.array([p for _, p in pairs])


def code_words() -> tuple[Tokens, NDArray[np.str_]]:
    """Return three lines at a time, word by word, and the packages they are from."""
    texts, packages = [], []
    for package, lines in _code().items():
        for start in range(0, len(lines) - 2, 3):
            texts.append(re.findall(r"\w+|[^\w\s]", " ".join(lines[start : start + 3])))
            packages.append(package)
    return _numbered(texts, 32, 1_000), np.array(packages)


def unicode_names() -> tuple[Tokens, NDArray[np.str_]]:
    """Return names of Unicode's characters, word by word, and their general categories."""
    found: dict[str, list[list[str]]] = {category: [] for category in _CATEGORIES}
    for point in range(sys.maxunicode + 1):
        character = chr(point)
        words = unicodedata.name(character, "").split(" ")
        # Names that end in their number are made by a rule.
        if len(words) > 1 and "-" not in words[-1] and "HANGUL" not in words:
            category = unicodedata.category(character)
            if category in found:
                found[category].append(words)
    texts, categories = _evened(found, 800)
    return _numbered(texts, 10, 1_200), categories


def surnames() -> tuple[Tokens, NDArray[np.str_]]:
    """Return surnames, letter by letter, and the countries where they are usual.

    Raises
    ------
    LookupError
        When Faker is not installed.
    """
    package_folder("faker")
    found: dict[str, list[str]] = {}
    for locale in _LOCALES:
        provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
        names = getattr(provider, "last_names", ())
        found[locale] = sorted({str(name).lower() for name in names})
    texts, countries = _evened(found, 700)
    return _numbered(texts, 14, 64), countries


def _code() -> dict[str, list[str]]:
    """Return the lines of some of the library's packages that say something."""
    library = Path(sysconfig.get_path("stdlib"))
    found = {}
    for package in _PACKAGES:
        lines: list[str] = []
        for path in sorted((library / package).rglob("*.py")):
            lines += (line.strip() for line in path.read_text("utf-8").splitlines())
        found[package] = [line for line in lines if len(line) > 12][:3_000]
    return found


def _evened(
    found: Mapping[str, Sequence[Sequence[str]]], most: int
) -> tuple[list[Sequence[str]], NDArray[np.str_]]:
    """Return at most so many texts of each class, drawn at random, and their classes."""
    rng = np.random.default_rng(0)
    texts: list[Sequence[str]] = []
    classes: list[str] = []
    for name, of_class in found.items():
        chosen = rng.permutation(len(of_class))[:most]
        texts += [of_class[k] for k in chosen]
        classes += [name] * len(chosen)
    return texts, np.array(classes)


def _numbered(texts: Sequence[Sequence[str]], length: int, vocabulary: int) -> Tokens:
    """Give the most frequent tokens numbers from 2 on; 1 is any other token, 0 is none."""
    counts = Counter(token for text in texts for token in text)
    number = {token: k + 2 for k, (token, _) in enumerate(counts.most_common(vocabulary - 2))}
    found = np.zeros((len(texts), length), np.int64)
    for row, text in zip(found, texts, strict=True):
        numbers = [number.get(token, 1) for token in text[:length]]
        row[: len(numbers)] = numbers
    return found
