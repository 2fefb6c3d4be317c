"""Baselines: simple ways to find concepts, to compare a method with."""
