"""The figures of a way of packing, from what was measured of one batch: filler, equality, and seconds as ratios."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks import stats
from benchmarks.contracts import Results, Setting
from benchmarks.record import Metric, Part, environment

VERSION = "1"


@dataclass(frozen=True)
class Measured:
    """Of one network on one batch."""

    forward: dict[str, float]
    """Episode → max |packed − alone| / max |alone| of the network's answer."""
    gradient: float
    """The same of the gradient of the loss, the worst tensor."""
    rows: list[tuple[int, int, int]]
    """(rows, tokens a row, of them filler) of every call of a step; [] of a backbone that packs nothing."""
    step_seconds: list[float]
    """By round: forward, backward and AdamW; all lists are of the same rounds."""
    padded_seconds: list[float]
    matrix_seconds: list[float]
    matrix_flops: float
    step_flops: float
    """Of a step without filler."""
    parameters: int = field(default=0)


def results(measured: Measured, setting: Setting, shapes: Sequence[tuple[int, int, int]]) -> Results:
    """The suite's metrics, each clip's inequality beside them."""
    exact = _exact(measured) | _equality(measured, setting)
    machine = {
        "rounds": len(measured.step_seconds),
        "cpu": environment().hardware.get("cpu", ""),
        "threads": _threads(),
    }
    metrics = {}
    for name, (figure, better, unit, parts) in (exact | _speed(measured, setting)).items():
        facts = {} if name in exact else machine
        key = setting.key(name, VERSION, shapes, **facts)
        metrics[name] = Metric(**figure.model_dump(), higher_is_better=better, key=key, unit=unit, parts=parts)
    return Results(
        metrics=metrics,
        curves={},
        per_video={"forward_difference": dict(measured.forward)},
        versions={"metric.packing": VERSION},
        citations=(),
    )


Figure = tuple[Part, "bool | None", str, dict[str, Part]]


def _exact(measured: Measured) -> dict[str, Figure]:
    """Of the rows: the same on every machine."""
    if not measured.rows:
        return {}
    clips = len(measured.forward)
    rows = sum(rows for rows, _, _ in measured.rows)
    tokens = sum(rows * length for rows, length, _ in measured.rows)
    filler = sum(filler for _, _, filler in measured.rows)
    inner = {"rows": Part(value=rows, n=clips), "calls": Part(value=len(measured.rows), n=clips)}
    return {
        "filler": (Part(value=filler / tokens, n=clips), False, "share", inner),
        "tokens_per_row": (Part(value=tokens / rows, n=clips), None, "tokens", {}),
    }


def _equality(measured: Measured, setting: Setting) -> dict[str, Figure]:
    """The worst clip leads: equal means that all of them are."""
    gaps = np.array(list(measured.forward.values()))
    mean = Part(
        value=float(gaps.mean()), n=len(gaps), interval=stats.mean_interval(gaps, setting.resamples, setting.seed)
    )
    return {
        "forward_difference": (Part(value=float(gaps.max()), n=len(gaps)), False, "relative", {"mean": mean}),
        "gradient_difference": (Part(value=measured.gradient, n=len(gaps)), False, "relative", {}),
    }


def _speed(measured: Measured, setting: Setting) -> dict[str, Figure]:
    """Medians over rounds; the peak is the fastest matrix product seen."""
    step, padded = np.array(measured.step_seconds), np.array(measured.padded_seconds)
    peak = measured.matrix_flops / min(measured.matrix_seconds)
    share = measured.step_flops / step / peak
    gflops = Part(value=peak / 1e9, n=len(measured.forward))
    return {
        "step_seconds": (_median(step, measured, setting), False, "s", {}),
        "speed_over_padding": (_median(padded / step, measured, setting), True, "ratio", {}),
        "matmul_share": (_median(share, measured, setting), True, "share", {"peak_gflops": gflops}),
    }


def _median(rounds: np.ndarray, measured: Measured, setting: Setting) -> Part:
    """With a percentile interval over rounds: of this run, not of other machines."""
    draws = stats.resample_indices(len(rounds), setting.resamples, setting.seed)
    low, high = np.quantile(np.median(rounds[draws], axis=1), (0.025, 0.975))
    return Part(value=float(np.median(rounds)), n=len(measured.forward), interval=(float(low), float(high)))


def _threads() -> str:
    import torch

    return str(torch.get_num_threads() or os.cpu_count())
