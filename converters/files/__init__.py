"""Readers of checkpoint files: containers, pickles that are never executed, and what a file is by its content."""
