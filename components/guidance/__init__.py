"""Alternatives of the axis `guidance`."""
