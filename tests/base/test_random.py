"""Random numbers of ours are those of jax.random, without a program for every shape."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vtcd_jax.base.random import permutation


@pytest.mark.parametrize("count", [0, 1, 2, 7, 1024, 1500, 1700])
def test_a_permutation_is_that_of_jax(count):
    key = jax.random.fold_in(jax.random.key(3), count)
    np.testing.assert_array_equal(permutation(key, count), jax.random.permutation(key, count))
