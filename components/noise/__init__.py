"""Alternatives of the axis `noise`."""
