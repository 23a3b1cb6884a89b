"""Alternatives of the axis `rollout`."""
