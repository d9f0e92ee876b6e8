import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from driftloop.statistics.multiplicity import benjamini_hochberg, holm


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_against_statsmodels(p_values):
    named = {f"test {i}": p for i, p in enumerate(p_values)}
    assert list(holm(named).values()) == pytest.approx(multipletests(p_values, method="holm")[1])
    assert list(benjamini_hochberg(named).values()) == pytest.approx(multipletests(p_values, method="fdr_bh")[1])


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_keyed_by_name_and_nan_does_not_count(adjust):
    p_values = {"a": 0.01, "b": float("nan"), "c": 0.04}
    forward, backward = adjust(p_values), adjust(dict(reversed(p_values.items())))
    assert forward["a"] == backward["a"] == 0.02
    assert forward["c"] == backward["c"] == 0.04
    assert np.isnan(forward["b"])
    assert adjust({}) == {}
