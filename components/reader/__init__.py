"""Alternatives of the axis `reader`."""
