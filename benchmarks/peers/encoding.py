"""Encoding a long clip in pieces: how much memory it takes, and whether that grows with the length.

    python -m benchmarks.peers.encoding [lengths=200,2000] [side=128] [threads=2] [tokenizers=vae,magvit2]

Frames are made a piece at a time and latents are dropped, so what is left is the tokenizer's own. Every figure comes
from a process of its own, since a peak of memory is never forgotten. Weights are random, options the defaults.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from zoo.errors import BadValue

if TYPE_CHECKING:
    from torch import Tensor

OPTIONS = {"lengths": "200,2000", "side": "128", "threads": "2", "tokenizers": "vae,magvit2"}


def encode(name: str, frames: int, side: int) -> dict[str, float]:
    """Peak memory of this process in MiB, and seconds, to encode `frames` frames, cut to whole latents."""
    import torch

    from benchmarks.peers.rollout import peak_mib
    from zoo import compose, fitting
    from zoo.recipe import Part

    tokenizer = compose.build_tokenizer(Part(name=name)).eval()
    before, began = peak_mib(), perf_counter()
    size = fitting.piece_latents(tokenizer, (side, side))

    def pieces() -> Iterator[Tensor]:
        total = tokenizer.latent_frames(frames)
        for first in range(0, total, size):
            length = tokenizer.video_frames(min(first + size, total)) - tokenizer.video_frames(first)
            yield torch.rand(1, 3, length, side, side) * 2 - 1

    latents = sum(latent.z.shape[2] for latent in tokenizer.encode_stream(pieces()))
    return {"before": before, "peak": peak_mib(), "seconds": perf_counter() - began, "latents": latents}


def _apart(name: str, frames: int, options: dict[str, str]) -> dict[str, float]:
    """`encode` in a process of its own. This one imports no torch: a child's peak would begin at its parent's size."""
    command = [sys.executable, "-m", "benchmarks.peers.encoding", f"lengths={frames}", f"tokenizers={name}", "one=1"]
    own = [f"{key}={options[key]}" for key in ("side", "threads")]
    done = subprocess.run([*command, *own], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: Sequence[str]) -> None:
    """Print the figures; with ``one=1`` a single one as JSON, for the parent process."""
    options: dict[str, Any] = dict(OPTIONS)
    one = "one=1" in arguments
    for word in (word for word in arguments if word != "one=1"):
        key, _, value = word.partition("=")
        whole = key == "tokenizers" or all(part.isdecimal() for part in value.split(","))
        if key not in OPTIONS or not value or not whole:
            raise BadValue(f"{word} is no option: write {' '.join(f'{k}={v}' for k, v in OPTIONS.items())}.")
        options[key] = value
    lengths = [int(part) for part in options["lengths"].split(",")]
    if one:
        import torch

        torch.set_num_threads(int(options["threads"]))
        print(json.dumps(encode(options["tokenizers"], lengths[0], int(options["side"]))))
        return
    for name in options["tokenizers"].split(","):
        found = {length: _apart(name, length, options) for length in lengths}
        for length, got in found.items():
            print(
                f"{name}: {length} frames of {options['side']}×{options['side']} to {got['latents']:.0f} latent frames "
                f"in {got['seconds']:.1f} s; peak memory {got['peak']:.0f} MiB, {got['before']:.0f} MiB before",
                flush=True,
            )
        ratio = found[max(lengths)]["peak"] / found[min(lengths)]["peak"]
        print(f"{name}: peak memory of {max(lengths)} frames over that of {min(lengths)}: {ratio:.3f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
