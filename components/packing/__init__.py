"""Alternatives of the axis `packing`."""
