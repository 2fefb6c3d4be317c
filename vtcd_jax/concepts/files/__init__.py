"""Concepts on disk: arrays, SLIC labels, tables."""
