"""Alternatives of the axis `objective`."""
