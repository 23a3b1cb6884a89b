"""One coloured shape that moves as its caption says: text conditioning and mixed sizes without a download."""

from __future__ import annotations

import hashlib
import json
from itertools import product

import numpy as np
from pydantic import Field, field_validator

from components.contracts import Clip, DataReport, Split
from components.shape_words import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, written
from zoo.component import Config, component

EDITION = 1
"""Part of the fingerprint: raise it when the same options would give other clips."""
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
FPS = 8.0
HELD_OUT = 5
"""One in so many combinations of colour, shape and motion is for testing only."""

Combination = tuple[int, int, int, int]


@component(
    cite="srivastava2015moving",
    note="captioned moving shapes of several sizes and aspect ratios; combinations held out for the test",
    gives={"captions"},
)
class MovingShapes:
    """Moving sprites on a plain ground after Srivastava et al. (2015): frame = draw(colour, shape, motion, background).

    Ours have captions written from the same state, and nothing bounces, so that "moves left" stays true. Test captions
    combine a colour, a shape and a motion that training never combines, though it shows every pair of them.
    """

    action_dim = 0

    class Config(Config):
        """Options of the shapes."""

        sizes: list[tuple[int, int]] = Field(
            [(32, 32), (32, 48), (48, 32)], min_length=1, description="height and width; episodes take turns"
        )
        frames: int = Field(16, ge=1, le=10_000, description="frames of an episode")
        train: int = Field(2000, ge=0, description="episodes to train on")
        validation: int = Field(64, ge=0, description="episodes to tune on: new drawings of trained combinations")
        test: int = Field(64, ge=0, description="episodes to score on: combinations never trained")
        seed: int = Field(0, ge=0, description="of everything drawn")

        @field_validator("sizes")
        @classmethod
        def _large_enough(cls, sizes: list[tuple[int, int]]) -> list[tuple[int, int]]:
            if any(not 16 <= side <= 1024 for pair in sizes for side in pair):
                raise ValueError("every height and width must lie in 16…1024")
            return sizes

    def __init__(self, config: Config, reader: object = None) -> None:
        self.config = config
        everything = product(range(len(COLOURS)), range(len(SHAPES)), range(len(MOTIONS)), range(len(BACKGROUNDS)))
        # A shape in the colour of its background would be invisible.
        seen = [c for c in everything if list(COLOURS)[c[0]] != list(BACKGROUNDS)[c[3]]]
        self._trained = [c for c in seen if not held_out(c)]
        self._tested = [c for c in seen if held_out(c)]

    def fingerprint(self) -> str:
        """Hash of the options and the edition of the generator."""
        said = json.dumps(["moving_shapes", EDITION, self.config.model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    def size(self, split: Split) -> int:
        """Episodes of the split."""
        return {"train": self.config.train, "validation": self.config.validation, "test": self.config.test}[split]

    def report(self) -> DataReport:
        """How many episodes there are; nothing is ever skipped."""
        return DataReport({split: self.size(split) for split in SPLITS})

    def combination(self, split: Split, index: int) -> Combination:
        """Numbers of the colour, shape, motion and background of an episode."""
        return self._begin(split, index)[0]

    def clip(self, split: Split, index: int) -> Clip:
        """One episode: frames uint8 [frames, H, W, 3] and its caption; no actions, no poses."""
        combination, rng = self._begin(split, index)
        height, width = self.config.sizes[index % len(self.config.sizes)]
        return Clip(
            frames=_draw(combination, height, width, self.config.frames, rng),
            times=np.arange(self.config.frames) / FPS,
            fps=FPS,
            caption=caption(combination),
            episode=f"moving_shapes/{self.config.seed}/{split}/{index}",
            source="moving_shapes",
            licence="CC0-1.0 (procedural)",
        )

    def _begin(self, split: Split, index: int) -> tuple[Combination, np.random.Generator]:
        """The combination, and the generator that drew it and goes on to draw the rest."""
        if not 0 <= index < self.size(split):
            raise IndexError(f"{split} has {self.size(split)} episodes; there is no number {index}")
        rng = np.random.default_rng((self.config.seed, 3 * index + SPLITS.index(split)))
        allowed = self._tested if split == "test" else self._trained
        return allowed[rng.integers(len(allowed))], rng


def held_out(combination: Combination) -> bool:
    """A Latin rule over colour, shape and motion: no pair of the three is held out in all its combinations."""
    colour, shape, motion, _ = combination
    return (colour + shape + motion) % HELD_OUT == 0


def caption(combination: Combination) -> str:
    """For example 'a red circle moves left on a blue background'."""
    colour, shape, motion, background = combination
    return written(list(COLOURS)[colour], SHAPES[shape], list(MOTIONS)[motion], list(BACKGROUNDS)[background])


def _draw(combination: Combination, height: int, width: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """The episode: uint8 [frames, height, width, 3], edges antialiased."""
    colour, shape, motion, background = combination
    centre, radius = _move(list(MOTIONS)[motion], height, width, frames, rng)
    y, x = np.mgrid[:height, :width] + 0.5
    across = x[None] - centre[:, 0, None, None]
    down = y[None] - centre[:, 1, None, None]
    outside = _distance(SHAPES[shape], across, down, radius[:, None, None])
    cover = np.clip(0.5 - outside, 0.0, 1.0)[..., None]
    front = np.array(list(COLOURS.values())[colour])
    back = np.array(list(BACKGROUNDS.values())[background])
    return (back + cover * (front - back) + 0.5).astype(np.uint8)


def _move(motion: str, height: int, width: int, frames: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Centres [frames, 2] (x, y) and radii [frames] in pixels; the whole shape stays in the picture."""
    short = min(height, width)
    share = np.linspace(0.0, 1.0, frames)
    radius = np.full(frames, short * rng.uniform(0.14, 0.24))
    if motion in ("grows", "shrinks"):
        small, large = short * rng.uniform(0.07, 0.12), short * rng.uniform(0.26, 0.36)
        radius = small + (large - small) * (share if motion == "grows" else share[::-1])
    margin = radius.max() + 1.0
    low, high = np.array([margin, margin]), np.array([width - margin, height - margin])
    if motion == "moves in a circle":
        orbit = rng.uniform(0.7, 1.0) * (high - low).min() / 2
        middle = rng.uniform(low + orbit, high - orbit + 1e-9)
        angle = rng.uniform(0, 2 * np.pi) + rng.choice([-1, 1]) * 2 * np.pi * share
        return middle + orbit * np.stack([np.cos(angle), np.sin(angle)], axis=1), radius
    start = rng.uniform(low, high)
    path = np.repeat(start[None], frames, axis=0)
    direction = MOTIONS[motion]
    if direction is not None:
        axis = 0 if direction[0] else 1
        covered = rng.uniform(0.6, 1.0) * (high - low)[axis]
        near = rng.uniform(low[axis], high[axis] - covered)
        path[:, axis] = near + covered * (share if direction[axis] > 0 else 1.0 - share)
    return path, radius


def _distance(shape: str, x: np.ndarray, y: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Signed distance to the edge in pixels, negative inside (exact, or smaller near corners): [T, H, W]."""
    if shape == "circle":
        return np.hypot(x, y) - radius
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - 0.85 * radius
    if shape == "triangle":  # point upwards, inscribed in the circle
        return np.maximum(y, np.abs(x) * np.sqrt(0.75) - y * 0.5) - 0.5 * radius
    long, thin = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
    return np.maximum(long - radius, thin - 0.32 * radius)
