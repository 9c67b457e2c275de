"""Run examples/quickstart.ipynb in a fresh kernel, and save it with what it shows.

    python docs/make_notebook.py

Needs the extras torch and plot, nbclient and ipykernel.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

PATH = Path(__file__).parents[1] / "examples" / "quickstart.ipynb"


def main() -> None:
    """Run, save."""
    notebook = nbformat.read(PATH, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        where = {"metadata": {"path": folder}}
        NotebookClient(
            notebook, resources=where, record_timing=False, coalesce_streams=True
        ).execute()
    notebook.metadata.language_info = {"name": "python"}  # the kernel's version says nothing
    nbformat.write(notebook, PATH)


if __name__ == "__main__":
    main()
