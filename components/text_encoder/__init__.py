"""Alternatives of the axis `text_encoder`."""
