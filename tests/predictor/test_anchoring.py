"""The line that a few known accuracies draw through estimates."""

from __future__ import annotations

import numpy as np

from accuracy_from_weights.predictor.anchoring import Anchor


def test_truths_narrow_no_interval_that_says_nothing() -> None:
    anchor = Anchor(shift=1.0, slope=0.5, widening=0.3)
    ends = anchor.ends([0.5, 0.5, 0.5], [0.1, 1.0, np.inf])
    assert 0 < ends[0, 0] < anchor.centre(0.5) < ends[0, 1] < 1
    np.testing.assert_array_equal(ends[1:], [[0, 1], [0, 1]])
