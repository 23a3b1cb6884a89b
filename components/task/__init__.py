"""Alternatives of the axis `task`."""
