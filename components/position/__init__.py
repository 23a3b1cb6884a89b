"""Alternatives of the axis `position`."""
