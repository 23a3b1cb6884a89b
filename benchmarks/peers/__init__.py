"""Alternatives of the axis `peers`."""
