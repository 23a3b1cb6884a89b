"""Alternatives of the axis `quantizer`."""
