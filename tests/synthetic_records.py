"""Records made up for the leaderboard's tests: four strategies, their floors and ceiling, curves and tiny videos."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import av
import numpy as np
from PIL import Image

from benchmarks.record import (
    Cost,
    Curve,
    DatasetReference,
    Environment,
    Metric,
    Part,
    Record,
    SuiteReference,
    digest,
)  # fmt: skip

STRATEGIES = {"autoregressive": 14.7, "long_range": 15.6, "hierarchical": 15.9, "pose_nearest": 26.8}
CONTROLS = {"reconstruction": ("ceiling", 29.1), "mean_context": ("floor", 16.1), "copy_last": ("floor", 14.3)}
START = datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)


def psnr(value: float, *, key: str = "psnr v1; videos=8", half: float = 0.3, n: int = 8) -> Metric:
    parts = {
        "unseen": Part(value=value - 3, n=n, interval=(value - 3.4, value - 2.6)),
        "revisit_context": Part(value=value + 1, n=n, interval=(value + 0.5, value + 1.5)),
    }
    interval = (value - half, value + half)
    return Metric(value=value, n=n, interval=interval, higher_is_better=True, key=key, unit="dB", parts=parts)


def make(name: str, value: float, /, **changes) -> Record:
    """A record like the harness writes; `changes` replace whole fields."""
    rng = np.random.default_rng(len(name))
    t = np.arange(0, 450, 3)
    mean = value + 6 * np.exp(-t / 40) + rng.normal(0, 0.3, len(t))
    curve = Curve(t=t.tolist(), mean=mean.tolist(), lo=(mean - 1).tolist(), hi=(mean + 1).tolist(), unit="dB")
    place = (value - 14) / 13
    fields = {
        "name": f"quickstart_{name}", "label": f"rollout={name}", "group": "g1",
        "suite": SuiteReference(name="quickstart", version=1),
        "recipe": {"rollout": {"name": name}, "train": {"generator": {"steps": 1000, "lr": 2e-3}}},
        "recipe_hash": digest(name),
        "stages": {"tokenizer": "tokenizer-aa", "generator": "generator-bb"},
        "components": {"rollout": name, "tokenizer": "vae"}, "citations": ["harvey2022fdm"],
        "metrics": {
            "psnr": psnr(value),
            "place": Metric(
                value=place, n=8, interval=(place - 0.05, place + 0.05), higher_is_better=True, key="place v1"
            ),
            "fd_lite0_motion": Metric(value=1 / value, n=8, interval=None, higher_is_better=False, key="fd v1"),
        },
        "curves": {"psnr": curve, "place": Curve(t=[0, 100, 200, 300], mean=[place, None, place / 2, place / 3])},
        "per_video": {"psnr": {f"e{i}": value + d for i, d in enumerate(np.linspace(-1, 1, 8))}},
        "dataset": DatasetReference(name="maze", fingerprint="f" * 12, report={"skipped": {"bad.mp4": "empty"}}),
        "seeds": {"seed": 0}, "cost": Cost(
            trained_seconds={"generator": 200.0}, wall_seconds={"sample": 20.0},
            parameters={"generator": 900_000, "tokenizer": 100_000},
            seconds_per_frame=0.021, peak_memory_bytes=700 * 2**20, network_calls_per_frame=0.5,
        ),
        "environment": Environment(git_commit="c" * 40, packages={"torch": "2.14.1"}, hardware={"cpu": "two cores"}),
        "created": START + timedelta(minutes=len(name)),
    }  # fmt: skip
    return Record(**(fields | changes))


def control(name: str, role: str, value: float) -> Record:
    return make(name, value, label=name, kind="control", role=role, recipe={}, recipe_hash="", stages={}, cost=Cost())


def everyone() -> list[Record]:
    models = [make(name, value) for name, value in STRATEGIES.items()]
    return models + [control(name, role, value) for name, (role, value) in CONTROLS.items()]


def video(path: Path, shade: int, frames: int = 40, size: int = 32) -> Path:
    """A small H.264 film of a square that goes round; `shade` tells one film from another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for i in range(frames):
            picture = np.full((size, size, 3), shade, np.uint8)
            angle = 2 * np.pi * i / frames
            y, x = int(size / 2 + size / 4 * np.sin(angle)), int(size / 2 + size / 4 * np.cos(angle))
            picture[y - 4 : y + 4, x - 4 : x + 4] = (250, 140, 40)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def strip(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.zeros((32, 400, 3), np.uint8)
    picture[..., 0] = np.linspace(0, 255, 400)[None]
    picture[..., 2] = shade
    Image.fromarray(picture).save(path)
    return path


# ------------------------------------------------------------------------------ several seeds, two worlds, two contexts

SEEDS = (0, 1, 2)
WORLDS = ("maze500", "vizdoom500")
HEADLINES = ("pd_lite0_wobbled_revisit", "place_recognition_wobbled", "fd_lite0_appearance_unseen")
LONG = {"autoregressive": 0.60, "long_range": 0.50, "hierarchical": 0.501}
"""Strategy → pd_lite0 on revisits: the latter two cannot be told apart, the first is worse on every video and seed."""
LONG_CONTROLS = {"reconstruction": ("ceiling", 0.1), "mean_context": ("floor", 0.8), "copy_last": ("floor", 0.9)}
EPISODES = [f"wobbled_loop_{i}" for i in range(8)]


def of_videos(values: dict[str, float], key: str, *, higher: bool, n: int | None = None) -> Metric:
    mean = float(np.mean(list(values.values())))
    return Metric(value=mean, n=n or len(values), interval=(mean - 0.1, mean + 0.1), higher_is_better=higher, key=key)


def long500(
    strategy: str, seed: int, level: float, /, world: str = "maze500", context: int = 250, rng_seed: int = 0, **changes
) -> Record:
    """One row of suite long500: values per video that seed, video, strategy and noise make up."""
    videos = np.random.default_rng([1, rng_seed]).normal(0, 0.2, 8)
    of_seed = np.random.default_rng([2, seed]).normal(0, 0.02) if seed >= 0 else 0.0
    noise = np.random.default_rng([3, seed + 1, len(strategy)]).normal(0, 0.01, (2, 8))
    error = dict(zip(EPISODES, level + videos + of_seed + noise[0], strict=True))
    place = dict(zip(EPISODES, 1 - level + videos - of_seed + noise[1], strict=True))
    protocol = f"protocol=long500@1/{world}/c{context}; videos=8"
    fd = 100 * (level + of_seed)
    bins = [[value + 0.001 * t for t in range(0, 96, 8)] for value in error.values()]
    metrics = {
        "psnr": psnr(20 - 10 * level, key=f"psnr v1; {protocol}"),
        HEADLINES[0]: of_videos(error, f"pd v1; {protocol}", higher=False),
        HEADLINES[1]: of_videos(place, f"place v1; {protocol}", higher=True),
        HEADLINES[2]: Metric(
            value=fd, n=8, interval=(fd - 4, fd + 4), higher_is_better=False, key=f"fd v1; {protocol}"
        ),
    }
    curve = Curve(
        t=[0.0],
        mean=[level],
        videos_t=[float(t) for t in range(0, 96, 8)],
        videos=dict(zip(EPISODES, bins, strict=True)),
    )
    fields = {
        "name": "long_range", "label": f"seed={seed}, rollout={strategy}",
        "group": f"{world}{seed}",
        "suite": SuiteReference(
            name="long500", version=1, options={"world": world, "context": context, "headlines": list(HEADLINES)}
        ),
        "recipe": {
            "rollout": {"name": strategy}, "seed": seed, "sample": {"seed": seed, "window": 16},
            "train": {"tokenizer": {"seed": 0}, "generator": {"seed": seed, "lr": 2e-3}},
            "suite": {"name": "long500", "world": world, "context": context},
            "point": {"seed": seed, "suite.context": context, "rollout": strategy, "case": world},
        },
        "recipe_hash": digest([strategy, seed, world, context]),
        "seeds": {"generator": seed, "sample": seed, "suite": 0},
        "dataset": DatasetReference(name=world, fingerprint=digest(world)),
        "metrics": metrics, "curves": {"pd_lite0": curve},
        "per_video": {HEADLINES[0]: error, HEADLINES[1]: place},
        "created": START + timedelta(minutes=seed),
        "cost": Cost(
            trained_seconds={"generator": 300.0 + seed}, parameters={"generator": 2_000_000}, seconds_per_frame=0.02,
            network_calls_per_frame=0.5, flops={"generator": 1e15, "generated_frame": 2e9},
        ),
    }  # fmt: skip
    return make(strategy, 20.0, **(fields | changes))


def long500_control(name: str, role: str, level: float, seed: int, /, **changes) -> Record:
    """A floor or ceiling beside the generator of `seed`: the same values for every one of them."""
    world = changes.get("world", "maze500")
    fields = {
        "name": name, "label": "", "kind": "control", "role": role, "group": f"{world}{seed}", "recipe": {},
        "recipe_hash": "", "seeds": {}, "stages": {}, "cost": Cost(), "created": START + timedelta(minutes=seed),
    }  # fmt: skip
    return long500(name, -1, level, **(fields | changes))


def long_range_study() -> list[Record]:
    """Three strategies and three controls, three training seeds, two worlds: 36 records, 6 rows on each of 2 boards."""
    found = []
    for rng_seed, world in enumerate(WORLDS):
        for seed in SEEDS:
            found += [long500(s, seed, level, world=world, rng_seed=rng_seed) for s, level in LONG.items()]
            found += [
                long500_control(name, role, level, seed, world=world, rng_seed=rng_seed)
                for name, (role, level) in LONG_CONTROLS.items()
            ]
    return found
