"""Alternatives of the axis `control`."""
