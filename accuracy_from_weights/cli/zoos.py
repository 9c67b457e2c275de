"""Read the zoos that were given to a command, with a progress bar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from accuracy_from_weights.cli.progress import progress_bar
from accuracy_from_weights.errors import UnreadableFileError

if TYPE_CHECKING:
    from accuracy_from_weights.zoo.describing import ExamplesOf
    from accuracy_from_weights.zoo.table import ZooTable


def read_zoos(
    paths: Sequence[Path],
    jobs: int,
    probes: bool = False,
    examples: ExamplesOf | None = None,
    checkpoints: int | None = None,
) -> ZooTable:
    """Read zoos, at least one, into one table; `zoo.reading.read_zoo` describes the parameters.

    Raises
    ------
    UnreadableFileError
        When one of them is missing or a damaged table.
    """
    from accuracy_from_weights.zoo.reading import read_zoo
    from accuracy_from_weights.zoo.table import concatenate

    for path in paths:
        if not path.exists():
            raise UnreadableFileError(
                f"{path} does not exist. Name a folder of a zoo, a table, or a CSV file of "
                "checkpoints."
            )
    tables = []
    for path in paths:
        with progress_bar(f"Describing {path}") as report:
            table = read_zoo(
                path, jobs, report, probes=probes, examples=examples, checkpoints=checkpoints
            )
            tables.append(table)
    return tables[0] if len(tables) == 1 else concatenate(tables, [str(path) for path in paths])
