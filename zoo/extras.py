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
    Extra("torchcodec", "pip install 'spacetime-zoo[torchcodec]'", "reader=torchcodec"),
    Extra("vizdoom", "pip install 'spacetime-zoo[vizdoom]'", "dataset=vizdoom and recipe=vizdoom_long"),
    Extra("open_clip", "pip install open_clip_torch", "text_encoder=open_clip and the CLIP metrics"),
    Extra("diffusers", "pip install diffusers", "tokenizer=diffusers, and the tests of solvers against it"),
    Extra("submitit", "pip install 'spacetime-zoo[slurm]'", "running a sweep on Slurm"),
    Extra("ray", "pip install 'spacetime-zoo[ray]'", "running a sweep on Ray"),
    Extra("wandb", "pip install 'spacetime-zoo[wandb]'", "logging to Weights & Biases"),
    Extra("mlflow", "pip install 'spacetime-zoo[mlflow]'", "logging to MLflow"),
    Extra("matplotlib", "pip install matplotlib", "frames format=png"),
)


def install_command(module: str) -> str:
    """The command that brings `module`, which may be dotted."""
    top = module.partition(".")[0]
    return next((extra.install for extra in EXTRAS if extra.module == top), f"pip install {top}")
