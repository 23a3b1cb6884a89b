"""Alternatives of the axis `metric`."""
