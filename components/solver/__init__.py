"""Alternatives of the axis `solver`."""
