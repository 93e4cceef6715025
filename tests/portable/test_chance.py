"""Random numbers by name have the distribution that they say, and are the same everywhere."""

from __future__ import annotations

import hashlib
import math
import statistics

import numpy as np
import pytest

from tinybuild.portable import chance


def test_quantiles_are_those_of_the_normal_distribution() -> None:
    shares = np.concatenate(
        [np.geomspace(2.0**-53, 0.5, 400), 1 - np.geomspace(2.0**-53, 0.5, 400)]
    )
    wanted = [statistics.NormalDist().inv_cdf(float(share)) for share in shares]
    assert np.allclose(chance.quantile(shares), wanted, rtol=1e-13, atol=1e-15)


def test_the_numbers_are_written_down() -> None:
    """A change here changes every model."""
    drawn = chance.normal(1000, 7, "a.weight", 0).tobytes() + chance.uniform(10, 7, "b").tobytes()
    assert hashlib.sha256(drawn).hexdigest()[:16] == "110356fd21138bca"


def test_a_key_has_numbers_of_its_own() -> None:
    one, other = chance.normal(50, 1, "a"), chance.normal(50, 1, "b")
    assert not np.isin(one, other).any()
    assert np.array_equal(one, chance.normal(80, 1, "a")[:50])


@pytest.mark.parametrize("bounds", [(-math.inf, math.inf), (-1.0, 2.0), (0.5, math.inf)])
def test_moments(bounds: tuple[float, float]) -> None:
    from scipy.stats import kstest, truncnorm

    low, high = bounds
    drawn = chance.normal(20_000, "moments", low=low, high=high)
    assert low <= drawn.min()
    assert drawn.max() <= high
    assert kstest(drawn, truncnorm(low, high).cdf).pvalue > 0.01


def test_uniform_numbers_are_below_one() -> None:
    drawn = chance.uniform(100_000, "u")
    assert drawn.min() >= 0
    assert drawn.astype(np.float32).max() < 1
    assert drawn.mean() == pytest.approx(0.5, abs=0.005)
