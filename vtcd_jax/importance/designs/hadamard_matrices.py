"""Hadamard matrices: square, entries 1 and -1, orthogonal columns.

Sylvester's doubling, Paley's two constructions over the integers modulo a prime, and their Kronecker products, which
together reach most multiples of 4. The first column of each is made all ones, so that the others are balanced.

Sylvester (1867); Paley (1933), "On orthogonal matrices", Journal of Mathematics and Physics 12.
"""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import count

import numpy as np


def order_for(columns: int) -> int:
    """The smallest order that ``hadamard`` can make with at least ``columns`` columns besides the constant one."""
    return next(n for n in count(max(columns + 1, 1)) if reachable(n))


@cache
def reachable(order: int) -> bool:
    """Whether ``hadamard`` can make this order."""
    if order in (1, 2):
        return True
    if order < 1 or order % 4:
        return False
    return _paley(order) is not None or _factors(order) is not None


@lru_cache(maxsize=16)
def hadamard(order: int) -> np.ndarray:
    """int8 [row, column], first column ones. Raises ValueError for an order that cannot be made."""
    if not reachable(order):
        raise ValueError(
            f"no Hadamard matrix of order {order} can be made; the next larger order is {order_for(order)}"
        )
    matrix = _matrix(order)
    matrix = matrix * matrix[:, :1]
    matrix.setflags(write=False)
    return matrix


def _matrix(order: int) -> np.ndarray:
    if order == 1:
        return np.ones((1, 1), np.int8)
    if order == 2:
        return np.array([[1, 1], [1, -1]], np.int8)
    paley = _paley(order)
    if paley is not None:
        prime, kind = paley
        return _paley_one(prime) if kind == 1 else _paley_two(prime)
    factors = _factors(order)
    assert factors is not None
    return np.kron(_matrix(factors[0]), _matrix(factors[1]))


def _paley(order: int) -> tuple[int, int] | None:
    """(prime, which of Paley's constructions), or None."""
    if _is_prime(order - 1):  # then it is 3 modulo 4
        return order - 1, 1
    if order % 4 == 0 and (order // 2 - 1) % 4 == 1 and _is_prime(order // 2 - 1):
        return order // 2 - 1, 2
    return None


def _factors(order: int) -> tuple[int, int] | None:
    """Two smaller orders whose product this is, the first as small as can be."""
    smaller = (a for a in range(2, int(order**0.5) + 1) if order % a == 0)
    return next(((a, order // a) for a in smaller if reachable(a) and reachable(order // a)), None)


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % divisor for divisor in range(2, int(n**0.5) + 1))


def _residues(prime: int) -> np.ndarray:
    """int8 [row, column]: 1 where row - column is a square modulo the prime, -1 where it is none, 0 on the diagonal."""
    squares = np.full(prime, -1, np.int8)
    squares[np.arange(prime, dtype=np.int64) ** 2 % prime] = 1
    squares[0] = 0
    index = np.arange(prime)
    return squares[(index[:, None] - index[None]) % prime]


def _bordered(prime: int, left: int) -> np.ndarray:
    """The residues with a border of ones, its left side times ``left``, and a zero in the corner."""
    matrix = np.zeros((prime + 1, prime + 1), np.int8)
    matrix[0, 1:], matrix[1:, 0], matrix[1:, 1:] = 1, left, _residues(prime)
    return matrix


def _paley_one(prime: int) -> np.ndarray:
    return _bordered(prime, -1) + np.eye(prime + 1, dtype=np.int8)


def _paley_two(prime: int) -> np.ndarray:
    corner = np.array([[1, -1], [-1, -1]], np.int8)
    rest = np.array([[1, 1], [1, -1]], np.int8)
    return np.kron(_bordered(prime, 1), rest) + np.kron(np.eye(prime + 1, dtype=np.int8), corner)
