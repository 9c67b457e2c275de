"""Write the examples into the documentation, with what they print.

    python docs/make_examples.py [NAME ...]

Runs the examples named, or all that the pages show, in a process each. The output of those whose
library this Python lacks stays as it is: run this again in that library's own environment.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile

from page_marks import DOCS, fill_pages, names_in, pages

EXAMPLES = DOCS.parent / "examples"


def program(name: str) -> str:
    """Return an example as a block of code."""
    return f"```python\n{(EXAMPLES / f'{name}.py').read_text(encoding='utf-8')}```"


def output(name: str) -> str | None:
    """Return what an example prints on stdout as a block; None where a library is missing."""
    path = EXAMPLES / f"{name}.py"
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    if "ModuleNotFoundError" in done.stderr or "MissingDependencyError" in done.stderr:
        return None
    if done.returncode:
        raise SystemExit(f"{path} failed:\n{done.stderr}")
    return f"```text\n{without_folder(done.stdout).rstrip()}\n```"


def without_folder(text: str) -> str:
    """Take the name of a temporary folder out, which says nothing, and narrow its column."""
    folder = re.search(rf"{re.escape(tempfile.gettempdir())}/\w+/", text)
    if folder is None:
        return text
    return text.replace(folder[0], "").replace("file" + " " * len(folder[0]), "file")


def main() -> None:
    """Run, and fill the pages in."""
    marks = [mark for page in pages() for mark in names_in(page.read_text(encoding="utf-8"))]
    shown = [mark.removeprefix("output of ") for mark in marks if mark.startswith("output of ")]
    fill_pages({f"program {path.stem}": program(path.stem) for path in EXAMPLES.glob("*.py")})
    for name in sys.argv[1:] or shown:
        printed = output(name)
        if printed is None:
            print(f"{name}: left as it was, since a library is missing", file=sys.stderr)
        else:
            fill_pages({f"output of {name}": printed})


if __name__ == "__main__":
    main()
