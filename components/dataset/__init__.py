"""Alternatives of the axis `dataset`."""
