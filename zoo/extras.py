"""Optional packages: what each is for and the command that installs it."""

from __future__ import annotations

from typing import NamedTuple


class Extra(NamedTuple):
    """`module` is what is imported, `install` the command that brings it, `purpose` what it is for."""

    module: str
    install: str
    purpose: str


EXTRAS = (
    Extra("decord", "pip install decord", "reader=decord, the fastest reader of whole video files"),
    Extra("vizdoom", "pip install 'spacetime-zoo[vizdoom]'", "dataset=vizdoom and recipe=vizdoom_long"),
    Extra("open_clip", "pip install open_clip_torch", "text_encoder=open_clip"),
    Extra("diffusers", "pip install 'spacetime-zoo[diffusers]'", "tokenizer=diffusers"),
)


def install_command(module: str) -> str:
    """The command that brings `module`, which may be dotted."""
    top = module.partition(".")[0]
    return next((extra.install for extra in EXTRAS if extra.module == top), f"pip install {top}")
