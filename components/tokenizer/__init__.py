"""Alternatives of the axis `tokenizer`."""
