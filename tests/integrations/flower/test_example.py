"""The example of federated rounds."""

from __future__ import annotations

import re

from tests.examples.example_runs import run_example


def test_the_example_leaves_out_the_client_that_never_trains():
    text = run_example("federated_round")
    truths = [float(value) for value in re.findall(r"true accuracy (\S+)\n", text)]
    lines = re.findall(r"round (\d)  client (\d)  (\S+) (.*)\n", text)
    assert [(line[0], line[1]) for line in lines] == [(r, c) for r in "123" for c in "01234"]
    assert all(rest.endswith("untrained, left out") == (c == "1") for _, c, _, rest in lines)
    first, last = (
        [float(estimate) for r, c, estimate, _ in lines if r == which and c != "1"]
        for which in "13"
    )
    assert min(last) > max(first)
    assert len(truths) == 2
    assert truths[1] > 0.6
