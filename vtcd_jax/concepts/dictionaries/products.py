"""Products with the two parts of a Gram matrix, A = X Xᵀ = P - N with P, N >= 0, the costly half of convex NMF.

    X  [sample feature]        V  [concept sample], non-negative        wanted: V P and V N

    form        P and N                                            operations          memory
    gram        A⁺ and A⁻, the entrywise parts of A                2·M²·k + 4·M·d·k    M²
    features    (|X||X|ᵀ ± A) / 2 = X⁺X⁺ᵀ + X⁻X⁻ᵀ, X⁺X⁻ᵀ + X⁻X⁺ᵀ   8·M·d·k             2·M·d

Both use P - N = A, and so V P - V N = (V X) Xᵀ, which needs no M x M matrix: only the sum V (P + N) is a large product,
with |A| in the first form and with |X| twice in the second. (A⁺ and A⁻ themselves where M is no larger than 2 d.)

The multiplicative steps of convex NMF never raise the error for *any* symmetric P, N >= 0 with P - N = A: Ding's
auxiliary functions bound each term of the error by u² / v or by a logarithm, as its sign demands, and use nothing of P
and N but that they are symmetric and non-negative. The split decides the length of the steps: (P + N)ᵢⱼ is |xᵢ·xⱼ| in
the first form and |xᵢ|·|xⱼ| in the second, which is larger, so that it takes
about half as many steps again to the same error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

Form = Literal["auto", "gram", "features"]
Products = Callable[[Array, Array], tuple[Array, Array]]

LARGE = 2048  # samples up to which "auto" keeps the published split; |A| takes 16 MiB there


def choose_form(form: Form, samples: int, features: int) -> Literal["gram", "features"]:
    """What ``form`` means for these sizes; "auto" leaves the published path only where its matrix would be large."""
    if form != "auto":
        return form
    return "features" if samples > max(LARGE, 4 * features) else "gram"


def split_products(X: Float[Array, "sample feature"], form: Form = "auto") -> Products:
    """A function (V [concept sample], V X [concept feature]) -> (V P, V N) [concept sample]."""
    samples, features = X.shape
    if choose_form(form, samples, features) == "features":
        magnitude = jnp.abs(X)
        return lambda V, VX: _halves((V @ magnitude) @ magnitude.T, VX @ X.T)
    gram = X @ X.T
    if samples > 2 * features:
        whole = jnp.abs(gram)
        return lambda V, VX: _halves(V @ whole, VX @ X.T)
    parts = jnp.concatenate([jnp.maximum(gram, 0), jnp.maximum(-gram, 0)], axis=1)

    def both(V: Array, VX: Array) -> tuple[Array, Array]:
        product = V @ parts
        return product[:, :samples], product[:, samples:]

    return both


def _halves(total: Array, difference: Array) -> tuple[Array, Array]:
    """(P, N) from P + N and P - N; rounding may take either just below zero."""
    return jnp.maximum(total + difference, 0) / 2, jnp.maximum(total - difference, 0) / 2
