"""Alternatives of the axis `conditioning`."""
