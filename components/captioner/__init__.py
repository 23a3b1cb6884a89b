"""Alternatives of the axis `captioner`."""
