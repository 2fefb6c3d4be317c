"""Cores, concurrent calls, meshes and precision: how work is distributed over devices."""
