"""Alternatives of the axis `pose_encoding`."""
