"""Alternatives of the axis `backbone`."""
