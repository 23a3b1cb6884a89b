"""What judging costs on this machine: ``python -m benchmarks.peers.metrics [videos=32] [frames=500] [size=64] …``

Prints seconds of every metric of the suite long500 on synthetic videos (each is the truth of another episode from the
context on, so that every metric has work to do), their sum, and our Fréchet distance beside the textbook's, which takes
the square root of the product of two covariances by scipy, at n=256 samples of d=400 features a side.

Options: videos=32 frames=500 size=64 n=256 d=400 repeats=5 threads=0 (torch's own choice).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks import harness
from benchmarks.frechet import frechet_distance
from benchmarks.suite import Suite, load
from components.contracts import Clip
from zoo import registry
from zoo.errors import BadValue
from zoo.turns import in_turns

OPTIONS = {"videos": 32, "frames": 500, "size": 64, "n": 256, "d": 400, "repeats": 5, "threads": 0}


def protocol(videos: int, frames: int, size: int) -> Suite:
    """long500 with as many videos, as long and as large as asked; half of the frames are given."""
    world = load("long500").dataset
    assert world is not None
    dataset = {"name": world.name, **world.options, "size": size, "frames": frames, "test": videos}
    if frames < 500:
        dataset["lap"] = [max(4, frames // 3), max(4, frames - frames // 20)]
    return load({"name": "long500", "dataset": dataset, "episodes": videos, "frames": frames, "context": frames // 2})


def synthetic(clips: Sequence[Clip], context: int) -> list[np.ndarray]:
    """A video for every clip: its own context, then what the next clip shows."""
    following = [*clips[1:], clips[0]]
    return [
        np.concatenate([clip.frames[:context], other.frames[context:]])
        for clip, other in zip(clips, following, strict=True)
    ]


def suite_seconds(suite: Suite) -> dict[str, float]:
    """Seconds of each metric on synthetic videos, by its place and name; rendering them is not counted."""
    assert suite.dataset is not None
    dataset = registry.build("dataset", suite.dataset.name, suite.dataset.options)
    clips = harness.episodes(suite, dataset)
    pairs = [
        harness.scored(video, clip, suite.context)
        for video, clip in zip(synthetic(clips, suite.context), clips, strict=True)
    ]
    taken = {}
    for label, metric in harness.build_metrics(suite, "synthetic").items():
        began = perf_counter()
        for pair in pairs:
            metric.update(pair)
        metric.compute()
        taken[label] = perf_counter() - began
    return taken


def textbook_frechet(x_nd: np.ndarray, y_nd: np.ndarray) -> float:
    """‖μ₁−μ₂‖² + tr (Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½), the root by scipy's Schur method, its imaginary rounding dropped."""
    from scipy.linalg import sqrtm

    gap = x_nd.mean(0) - y_nd.mean(0)
    cov_x, cov_y = np.cov(x_nd, rowvar=False), np.cov(y_nd, rowvar=False)
    root = np.real(np.asarray(sqrtm(cov_x @ cov_y)))
    return float(gap @ gap + np.trace(cov_x) + np.trace(cov_y) - 2 * np.trace(root))


def frechet_beside_scipy(n: int, d: int, repeats: int) -> dict[str, float]:
    """Median milliseconds of both on the same random features, in turns, and both results."""
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(d, d)) / np.sqrt(d)  # correlated, as real features are
    x, y = rng.normal(size=(n, d)) @ spread, 0.2 + rng.normal(size=(n, d)) @ spread
    times = in_turns([lambda: frechet_distance(x, y), lambda: textbook_frechet(x, y)], repeats)
    ours, theirs = map(median, times)
    return {"ours": ours, "scipy": theirs, "distance": frechet_distance(x, y), "textbook": textbook_frechet(x, y)}


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    import torch

    options = dict(OPTIONS)
    for word in arguments:
        name, _, value = word.partition("=")
        if name not in options or not value.isdecimal():
            raise BadValue(f"'{word}' is no option here: write NAME=N with one of {', '.join(options)}.")
        options[name] = int(value)
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    suite = protocol(options["videos"], options["frames"], options["size"])
    taken = suite_seconds(suite)
    for label, seconds in taken.items():
        print(f"{label:32}{seconds:8.1f} s")
    size = options["size"]
    print(
        f"all metrics of long500, {options['videos']} videos x {options['frames']} frames x {size}x{size}, "
        f"{torch.get_num_threads()} threads: {sum(taken.values()):.1f} s"
    )
    frechet = frechet_beside_scipy(options["n"], options["d"], options["repeats"])
    print(
        f"Fréchet distance at N = {options['n']}, D = {options['d']}: {frechet['ours']:.1f} ms, by scipy.linalg.sqrtm "
        f"{frechet['scipy']:.1f} ms, {frechet['scipy'] / frechet['ours']:.1f} times faster; "
        f"{frechet['distance']:.6f} and {frechet['textbook']:.6f}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
