"""Hadamard matrices have orthogonal balanced columns, and the smallest one that fits is taken."""

from __future__ import annotations

import numpy as np
import pytest

from vtcd_jax.importance.designs.hadamard_matrices import hadamard, order_for, reachable

MISSING = [52, 92, 100, 116, 156, 172, 184, 188, 232, 236, 244, 260, 268, 292]  # they need other constructions


def test_every_multiple_of_four_is_reached_but_for_a_few():
    assert [n for n in range(4, 300, 4) if not reachable(n)] == MISSING


def test_other_numbers_have_no_matrix():
    assert [n for n in range(-4, 100) if reachable(n) and (n < 1 or n % 4)] == [1, 2]


def test_all_columns_are_orthogonal_and_the_first_is_ones():
    for order in (n for n in range(1, 300) if reachable(n)):
        matrix = hadamard(order)
        assert matrix.dtype == np.int8 and (np.abs(matrix) == 1).all(), order
        np.testing.assert_array_equal(matrix.astype(float).T @ matrix, order * np.eye(order), err_msg=str(order))
        np.testing.assert_array_equal(matrix[:, 0], 1, err_msg=str(order))


def test_the_smallest_order_with_enough_columns_is_taken():
    for columns in range(600):
        order = order_for(columns)
        assert order == next(n for n in range(columns + 1, columns + 40) if reachable(n)), columns
        assert order - columns <= 12, "few columns are wasted"


def test_an_order_that_is_not_reached_is_refused_with_the_next():
    with pytest.raises(ValueError, match="no Hadamard matrix of order 92 can be made; the next larger order is 96"):
        hadamard(92)


def test_a_matrix_is_shared_and_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        hadamard(8)[0, 0] = 0
