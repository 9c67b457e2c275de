"""``python -m accuracy_from_weights``: the command line, where its script is not on the path."""

from accuracy_from_weights.cli import main

main(prog_name="accuracy-from-weights")
