"""What long rollouts cost on this machine: ``python -m benchmarks.peers.rollout [option=N …] [key=value …]``

Weights are random (cost does not depend on what was learned); `key=value` edits the recipe, ``ablations/long_range``.
Every figure is taken in a fresh process, one after the other, so that nothing before it counts. Prints:

- remembering the keys and values of observed frames beside computing them again at every denoising step: window 16,
  half of it observed, decoding left out; how many times faster, and the largest difference of the results;
- seconds per frame of the last `span` frames over those of the first `span`, in the order in which they are made;
- peak memory of short and long rollouts that stream to disk, decoded video included.

Options: batch=32 steps=10 rounds=4 repeats=3 (remembering); lengths=500,1000 videos=8 span=100 (seconds per frame);
memory=500,5000 memory_videos=4 (memory, one denoising step, which changes no memory); context=100; threads=0 (torch's
own choice).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

from zoo.errors import BadValue

if TYPE_CHECKING:
    from zoo.canvas import Cost
    from zoo.model import Scene, ZooModel

OPTIONS = {
    "batch": "32",
    "steps": "10",
    "rounds": "4",
    "repeats": "3",
    "lengths": "500,1000",
    "videos": "8",
    "span": "100",
    "memory": "500,5000",
    "memory_videos": "4",
    "context": "100",
    "threads": "0",
}
RECIPE = ("recipe=ablations/long_range", "rollout=autoregressive", "sample.window=16", "sample.step=8")


def build(edits: Sequence[str]) -> ZooModel:
    """The recipe's model with random weights, its first point where it sweeps."""
    import torch

    from zoo import compose
    from zoo.model import ZooModel
    from zoo.recipe import resolve

    recipe = resolve([*RECIPE, *edits], sweep=True)[0]
    torch.manual_seed(0)
    tokenizer = compose.build_tokenizer(recipe.part("tokenizer")).eval()
    generator = compose.build_generator(recipe, compose.Sizes(tokenizer.channels, 3))
    with torch.no_grad():  # a zero-initialised head would hide what the memory gets wrong
        for parameter in generator.network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    generator.network.eval()
    size = int(recipe.part("dataset").options["size"])
    tokenizer.fit_statistics([torch.rand(2, 3, tokenizer.video_frames(1), size, size) * 2 - 1])
    return ZooModel(recipe, tokenizer, generator, torch.device("cpu"), (size, size))


def scenes(model: ZooModel, count: int, frames: int, context: int) -> list[Scene]:
    """What `count` videos are made from: random given frames, random actions, a walk round a circle."""
    import numpy as np

    from zoo.cost import stand_in_poses
    from zoo.model import Scene

    rng = np.random.default_rng(0)
    return [
        Scene(
            frames=frames,
            context=rng.integers(0, 256, (context, *model.size, 3), dtype=np.uint8),
            actions=rng.normal(size=(frames - 1, 3)).astype(np.float32),
            poses=stand_in_poses(frames),
            episode=str(number),
        )
        for number in range(count)
    ]


def remembering(model: ZooModel, *, batch: int, rounds: int, repeats: int) -> dict[str, float]:
    """Seconds with and without memory, best of `repeats` taken in turns, and the largest difference of the results."""
    engine = replace(model.engine(), batch=batch)
    frames = engine.window - engine.step + rounds * engine.step
    asked = [model.request(scene) for scene in scenes(model, batch, frames, engine.window - engine.step)]
    ways = {cache: replace(engine, cache=cache) for cache in (True, False)}
    made = {cache: way.generate(asked) for cache, way in ways.items()}  # untimed: warms both
    taken: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(repeats):
        for cache, way in ways.items():
            began = perf_counter()
            way.generate(asked)
            taken[cache].append(perf_counter() - began)
    difference = max(float((a - b).abs().max()) for a, b in zip(made[True], made[False], strict=True))
    largest = max(float(latent.abs().max()) for latent in made[True])
    return {"with": min(taken[True]), "without": min(taken[False]), "difference": difference, "largest": largest}


def by_time(model: ZooModel, *, frames: int, videos: int, context: int, span: int) -> dict[str, float]:
    """Seconds per frame and video at both ends of one rollout in memory, without decoding."""
    engine = replace(model.engine(), batch=videos)
    engine.generate([model.request(scene) for scene in scenes(model, videos, context + engine.step, context)])
    _, cost = engine.paint([model.request(scene) for scene in scenes(model, videos, frames, context)])
    first, last = ends(cost, span * videos)
    return {"first": first, "last": last}


def ends(cost: Cost, span: int) -> tuple[float, float]:
    """Seconds a frame over the first and the last rounds that finish `span` frames; all videos' frames count."""

    def rate(order: Callable[[Sequence[Any]], Any]) -> float:
        seconds = frames = 0.0
        for taken, made in zip(order(cost.seconds_by_step), order(cost.frames_by_step), strict=True):
            if frames >= span:
                break
            seconds, frames = seconds + taken, frames + made
        return seconds / max(frames, 1)

    return rate(lambda values: values), rate(lambda values: list(reversed(values)))


def streamed(model: ZooModel, folder: Path, *, frames: int, videos: int, context: int) -> dict[str, float]:
    """Peak memory of this process in MiB after building, and after a rollout streamed to `folder` and decoded."""
    before = peak_mib()
    model.sample_to(folder, scenes(model, videos, frames, context))
    return {"before": before, "peak": peak_mib()}


def peak_mib() -> float:
    """Peak memory of this process so far."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


# ---------------------------------------------------------------------------------------------- one figure, one process


def measure(figure: str, frames: int, options: dict[str, str], edits: Sequence[str]) -> dict[str, float]:
    """One figure in this process."""
    import torch

    number = {name: int(value) for name, value in options.items() if "," not in value}
    if number["threads"]:
        torch.set_num_threads(number["threads"])
    if figure == "remembering":
        model = build([f"solver.steps={number['steps']}", *edits])
        wanted = {name: number[name] for name in ("batch", "rounds", "repeats")}
        return {**remembering(model, **wanted), "threads": torch.get_num_threads()}
    if figure == "by_time":
        wanted = {name: number[name] for name in ("videos", "context", "span")}
        return by_time(build(edits), frames=frames, **wanted)
    with TemporaryDirectory() as folder:
        model = build(["solver.steps=1", *edits])
        return streamed(model, Path(folder), frames=frames, videos=number["memory_videos"], context=number["context"])


def _apart(figure: str, frames: int, options: dict[str, str], edits: Sequence[str]) -> dict[str, float]:
    """`measure` in a process of its own. This one imports no torch: a child's peak would begin at its parent's size."""
    command = [sys.executable, "-m", "benchmarks.peers.rollout", f"figure={figure}", f"frames={frames}"]
    own = [f"{name}={value}" for name, value in options.items()]
    done = subprocess.run([*command, *own, *edits], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: Sequence[str]) -> None:
    """Print all figures; ``figure=NAME frames=N`` prints one as JSON, for the parent process."""
    known = {**OPTIONS, "figure": "", "frames": "0"}
    given = dict(word.split("=", 1) for word in arguments if word.partition("=")[0] in known)
    edits = [word for word in arguments if word.partition("=")[0] not in known]
    for name, value in given.items():
        if name != "figure" and not all(part.isdecimal() for part in value.split(",")):
            raise BadValue(f"{name}={value} is not a whole number: write {name}={OPTIONS.get(name, 100)}.")
    options = {name: given.get(name, value) for name, value in OPTIONS.items()}
    if "figure" in given:
        print(json.dumps(measure(given["figure"], int(given.get("frames", 0)), options, edits)))
        return
    _report(options, edits)


def _report(options: dict[str, str], edits: Sequence[str]) -> None:
    gain = _apart("remembering", 0, options, edits)
    print(
        f"remembering observed frames ({gain['threads']:.0f} threads, batch {options['batch']}, {options['steps']} "
        f"denoising steps): {gain['with']:.2f} s, computing them again {gain['without']:.2f} s, "
        f"{gain['without'] / gain['with']:.2f} times faster; largest difference {gain['difference']:.1e} of values "
        f"up to {gain['largest']:.1f}",
        flush=True,
    )
    for length in (int(part) for part in options["lengths"].split(",")):
        runs = [_apart("by_time", length, options, edits) for _ in range(int(options["repeats"]))]
        ratios = [run["last"] / run["first"] for run in runs]
        print(
            f"{length} frames, {options['videos']} videos: {1e3 * statistics.median(run['first'] for run in runs):.2f} "
            f"ms a frame in the first {options['span']}, {1e3 * statistics.median(run['last'] for run in runs):.2f} in "
            f"the last; ratio {statistics.median(ratios):.3f} (median of {', '.join(f'{r:.3f}' for r in ratios)})",
            flush=True,
        )
    peaks = {}
    for length in (int(part) for part in options["memory"].split(",")):
        peaks[length] = _apart("streamed", length, options, edits)
        print(
            f"{length} frames, {options['memory_videos']} videos streamed to disk: peak memory "
            f"{peaks[length]['peak']:.0f} MiB, {peaks[length]['before']:.0f} MiB before the first step",
            flush=True,
        )
    short, long = min(peaks), max(peaks)
    print(f"peak memory of {long} frames over that of {short}: {peaks[long]['peak'] / peaks[short]['peak']:.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
