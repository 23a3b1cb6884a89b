"""What a long rollout costs by length: ``python -m benchmarks.peers.rollout_cost [frames=500] [batch=8] [key=value …]``

Prints, for the quickstart's generator with random weights (cost does not depend on what was learned), decoding
excluded: seconds per frame of the first and the last 100 frames after the context, and their ratio; peak memory at one
and at two lengths; and the gain of remembering the keys and values of observed frames over computing them again at
every denoising step, with the largest difference between the two results.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from time import perf_counter
from typing import Any

CONTEXT = 100


def build(overrides: list[str]) -> tuple[Any, Any]:
    """The sampling engine of the quickstart with random weights, and its recipe."""
    import torch

    from zoo import compose
    from zoo.recipe import resolve
    from zoo.sampling import Engine

    (recipe,) = resolve(["recipe=quickstart", "rollout=autoregressive", *overrides], sweep=False)
    torch.manual_seed(0)
    tokenizer = compose.build("tokenizer", recipe.part("tokenizer"))
    generator = compose.build_generator(recipe, compose.Sizes(tokenizer.channels, 3))
    with torch.no_grad():  # a zero-initialised head would hide what the memory gets wrong
        for parameter in generator.network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return Engine(
        network=generator.network.eval(),
        objective=generator.objective,
        solver=compose.build("solver", recipe.part("solver")),
        guidance=compose.build("guidance", recipe.part("guidance")),
        rollout=compose.build("rollout", recipe.part("rollout")),
        text_encoder=generator.text_encoder,
        window=recipe.sample.window,
        step=recipe.sample.step,
    ), recipe


def requests(frames: int, batch: int, side: int = 8, channels: int = 4) -> list[Any]:
    """Videos to make: random given latents, random poses and actions."""
    import torch

    from zoo.sampling import Request

    draw = torch.Generator().manual_seed(0)
    return [
        Request(
            episode=str(number),
            context=torch.randn(channels, CONTEXT, side, side, generator=draw),
            frames=frames,
            actions=torch.randn(frames, 3, generator=draw),
            poses=torch.randn(frames, 4, generator=draw),
        )
        for number in range(batch)
    ]


def rollout(frames: int, batch: int, overrides: list[str]) -> dict[str, Any]:
    """One rollout: seconds per frame at both ends, and the peak memory of this process."""
    import resource

    engine, recipe = build(overrides)
    channels = int(recipe.part("tokenizer").options.get("channels", 4))
    engine.generate(requests(CONTEXT + recipe.sample.step, batch, channels=channels))  # warm up
    _, cost = engine.generate_with_cost(requests(frames, batch, channels=channels))
    per_step = [seconds / recipe.sample.step for seconds in cost.seconds_by_step]
    hundred = max(1, 100 // recipe.sample.step)
    first, last = (sum(part) / len(part) for part in (per_step[:hundred], per_step[-hundred:]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"first": first, "last": last, "ratio": last / first, "peak_mib": peak}


def remembering(batch: int, overrides: list[str], repeats: int = 3) -> dict[str, float]:
    """Seconds with and without memory, taking turns; the best of each, and the largest difference of the results."""
    engine, recipe = build(overrides)
    channels = int(recipe.part("tokenizer").options.get("channels", 4))
    asked = requests(CONTEXT + 4 * recipe.sample.step, batch, channels=channels)
    times: dict[bool, list[float]] = {True: [], False: []}
    made: dict[bool, Any] = {}
    for _ in range(repeats):
        for cache in (True, False):
            began = perf_counter()
            made[cache] = replace(engine, cache=cache).generate(asked)
            times[cache].append(perf_counter() - began)
    difference = max(float((a - b).abs().max()) for a, b in zip(made[True], made[False], strict=True))
    return {"with": min(times[True]), "without": min(times[False]), "difference": difference}


def main(arguments: list[str]) -> None:
    """Print the figures; ``json`` as first argument prints those of one rollout for the parent process."""
    own = {key: int(value) for key, _, value in (a.partition("=") for a in arguments) if key in ("frames", "batch")}
    overrides = [a for a in arguments if a.partition("=")[0] not in ("frames", "batch", "json")]
    frames, batch = own.get("frames", 500), own.get("batch", 8)
    if "json" in arguments:
        print(json.dumps(rollout(frames, batch, overrides)))
        return
    lengths = (frames, 2 * frames)
    results = {length: _apart(length, batch, overrides) for length in lengths}
    for length, result in results.items():
        print(
            f"{length} frames, batch {batch}: {result['first']:.4f} s/frame in the first 100, {result['last']:.4f} in "
            f"the last 100, ratio {result['ratio']:.3f}; peak memory {result['peak_mib']:.0f} MiB"
        )
    steps = ["solver.steps=10", *overrides]
    gain = remembering(batch, steps)
    print(
        f"remembering observed frames, 10 denoising steps: {gain['with']:.2f} s against {gain['without']:.2f} s, "
        f"{gain['without'] / gain['with']:.2f} times faster; largest difference {gain['difference']:.1e}"
    )


def _apart(frames: int, batch: int, overrides: list[str]) -> dict[str, Any]:
    """`rollout` in a process of its own, so that one length's peak memory does not hide another's."""
    command = [sys.executable, "-m", "benchmarks.peers.rollout_cost", "json", f"frames={frames}", f"batch={batch}"]
    return json.loads(subprocess.run([*command, *overrides], capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
