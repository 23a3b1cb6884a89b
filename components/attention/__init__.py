"""Alternatives of the axis `attention`."""
