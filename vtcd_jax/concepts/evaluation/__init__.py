"""Evaluation of concepts: overlap with true masks, stability under other fits, and controls."""
