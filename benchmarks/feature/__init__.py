"""Alternatives of the axis `feature`."""
