"""Write into docs/examples.md what the examples print.

    python docs/make_examples.py [NAME ...]

Runs the examples named, or all, in a process each. What the page shows of those whose library this
Python lacks stays as it is: run this again in that library's own environment.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
PAGE = DOCS / "examples.md"


def output_of(name: str) -> str | None:
    """Give what an example prints on stdout; None where a library is missing."""
    path = DOCS.parent / "examples" / f"{name}.py"
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    if "ModuleNotFoundError" in done.stderr:
        return None
    if done.returncode:
        raise SystemExit(f"{path} failed:\n{done.stderr}")
    # The names of temporary folders say nothing.
    return re.sub(rf"{re.escape(tempfile.gettempdir())}/\w+/", "", done.stdout)


def main() -> None:
    """Run, and fill the page in."""
    page = PAGE.read_text(encoding="utf-8")
    for name in sys.argv[1:] or re.findall(r"<!-- output of (\w+) -->", page):
        output = output_of(name)
        if output is None:
            print(f"{name}: left as it was, since a library is missing", file=sys.stderr)
            continue
        block = f"<!-- output of {name} -->\n```text\n{output.rstrip()}\n```"
        pattern = rf"<!-- output of {name} -->\n```text\n.*?```"
        page = re.sub(pattern, lambda _, block=block: block, page, count=1, flags=re.DOTALL)
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
