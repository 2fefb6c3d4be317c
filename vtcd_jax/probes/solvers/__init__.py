"""Solvers of probes: Newton steps, conjugate gradients, losses. Every fit reports whether it converged."""
