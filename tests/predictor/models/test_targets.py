from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from accuracy_from_weights.predictor.models.targets import TARGETS, accuracy_of, target_of

fractions = arrays(np.float64, 5, elements=st.floats(0, 1))


@pytest.mark.parametrize("target", TARGETS)
@given(accuracies=fractions, guess=fractions)
def test_there_and_back(target, accuracies, guess):
    back = accuracy_of(target_of(accuracies, guess, target), guess, target)
    np.testing.assert_allclose(back, accuracies, atol=0.00501)


@pytest.mark.parametrize("target", TARGETS)
@given(answers=arrays(np.float64, 5, elements=st.floats(-1e6, 1e6)), guess=fractions)
def test_any_answer_is_a_fraction(target, answers, guess):
    found = accuracy_of(answers, guess, target)
    assert ((found >= 0) & (found <= 1)).all()
