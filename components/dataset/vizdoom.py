"""First-person video from a real game engine: procedural Doom mazes toured so that places come back."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict

import numpy as np
from pydantic import Field, field_validator

from components.contracts import Clip, DataReport, Split
from components.doom_camera import engine, open_camera
from components.doom_map import carve, map_text, wad_bytes
from components.tour import TourKind, actions_between, draw_tour, tour_name
from zoo.component import Config, component

EDITION = 1
"""Part of the fingerprint: raise it when the same options would give other pictures, poses or tours."""
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
FPS = 15.0
REMEMBERED = 64
"""Episodes kept in memory: filming one takes a second, and training comes back to it many times."""


@component(
    cite="kempka2016vizdoom,wydmuch2019vizdoom",
    note="procedural ViZDoom mazes, double-loop tours with poses and actions; needs the extra [vizdoom]",
    gives={"poses", "actions"},
)
class VizDoom:
    """Mazes filmed by ViZDoom (Kempka et al. 2016; Wydmuch et al. 2019): frame t = engine(pose t).

    The player is placed at each pose instead of playing, so every lap shows the same pixels; the maps are our own.
    Built as ``VizDoom(config)``; a reader is accepted and not used. Raises UserError where ViZDoom is not installed.
    """

    action_dim = 3
    """Forward, left (cells, in the agent's frame) and yaw change (radians)."""

    class Config(Config):
        """Options of the Doom mazes; a picture is the square middle of the engine's 4:3 screen."""

        size: int = Field(32, ge=8, le=240, description="height and width of a frame in pixels")
        frames: int = Field(500, ge=2, le=20_000, description="frames of an episode")
        train: int = Field(24, ge=0, description="episodes to train on; each is a maze of its own")
        validation: int = Field(4, ge=0, description="episodes to tune on")
        test: int = Field(8, ge=0, description="episodes to score on")
        seed: int = Field(0, ge=0, description="of mazes and tours")
        rooms: int = Field(3, ge=2, le=12, description="rooms along a side; corridors lie between them")
        openings: float = Field(0.3, ge=0, le=1, description="share of inner walls that are opened into loops")
        tours: dict[TourKind, float] = Field({"loop": 1.0}, description="share of each kind of tour")
        wobble: float = Field(0.0, ge=0, le=1, description="share of episodes whose path never quite repeats")
        lap: tuple[int, int] = Field((60, 250), description="shortest and longest round in frames, drawn per episode")

        @field_validator("tours")
        @classmethod
        def _shares(cls, tours: dict[TourKind, float]) -> dict[TourKind, float]:
            if any(share < 0 for share in tours.values()) or sum(tours.values()) <= 0:
                raise ValueError("shares of tours must not be negative and need a positive sum")
            return tours

        @field_validator("lap")
        @classmethod
        def _lap_range(cls, lap: tuple[int, int]) -> tuple[int, int]:
            if not 4 <= lap[0] <= lap[1]:
                raise ValueError("lap is (shortest, longest) with 4 <= shortest <= longest")
            return lap

    def __init__(self, config: Config, reader: object = None) -> None:
        self.config = config
        self._engine_version: str = engine().__version__
        self._filmed: OrderedDict[tuple[Split, int], Clip] = OrderedDict()

    def fingerprint(self) -> str:
        """Hash of the options, the edition of the generator and the engine's version."""
        said = ["vizdoom", EDITION, self._engine_version, self.config.model_dump(mode="json")]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def size(self, split: Split) -> int:
        """Episodes of the split."""
        return {"train": self.config.train, "validation": self.config.validation, "test": self.config.test}[split]

    def report(self) -> DataReport:
        """How many episodes there are; nothing is ever skipped."""
        return DataReport({split: self.size(split) for split in SPLITS})

    def world_seed(self, split: Split, index: int) -> int:
        """Number of the maze of an episode: 3 · index + split, so that no two splits share one."""
        if not 0 <= index < self.size(split):
            raise IndexError(f"{split} has {self.size(split)} episodes; there is no number {index}")
        return 3 * index + SPLITS.index(split)

    def clip(self, split: Split, index: int) -> Clip:
        """One episode: frames uint8 [T, size, size, 3], poses [T, 4], actions [T-1, 3]; about 1 s for 500 frames."""
        number = self.world_seed(split, index)
        key: tuple[Split, int] = (split, index)
        if key not in self._filmed:
            self._filmed[key] = self._film(f"vizdoom/{self.config.seed}/{split}/{index}", number)
        self._filmed.move_to_end(key)
        if len(self._filmed) > REMEMBERED:
            self._filmed.popitem(last=False)
        return self._filmed[key]

    def _film(self, episode: str, number: int) -> Clip:
        config = self.config
        rng = np.random.default_rng((config.seed, number))
        free_yx = carve(config.rooms, config.openings, rng)
        wad = wad_bytes(map_text(free_yx, rng))
        kind = list(config.tours)[_draw(list(config.tours.values()), rng)]
        wobble = bool(rng.random() < config.wobble)
        lap = int(rng.integers(config.lap[0], config.lap[1] + 1))
        asked = draw_tour(kind, free_yx, frames=config.frames, lap=lap, wobble=wobble, height=0.0, rng=rng)
        frames = np.empty((config.frames, config.size, config.size, 3), np.uint8)
        poses = np.empty((config.frames, 4), np.float32)
        with open_camera(wad, tall=config.size > 120) as camera:
            for t, (x, y, _, yaw) in enumerate(asked.astype(np.float64)):
                picture, poses[t] = camera.shoot(x, y, yaw)
                frames[t] = shrink(picture, config.size)
        return Clip(
            frames=frames,
            times=np.arange(config.frames) / FPS,
            fps=FPS,
            actions=actions_between(poses),
            poses=poses,
            episode=episode,
            tour=tour_name(kind, wobble),
            source=f"vizdoom/{kind}/lap={lap}/wobble={int(wobble)}",
            licence="BSD-3-Clause (Freedoom textures)",
        )


def shrink(picture: np.ndarray, size: int) -> np.ndarray:
    """The square middle of uint8 [H, W, 3], W ≥ H ≥ size, as uint8 [size, size, 3]: each pixel the mean of its area."""
    height, width = picture.shape[:2]
    left = (width - height) // 2
    square = picture[:, left : left + height].astype(np.float32)
    share = _area_shares(height, size)
    smaller = np.einsum("ih,hwc,jw->ijc", share, square, share, optimize=True)
    return np.clip(smaller + 0.5, 0, 255).astype(np.uint8)


def _area_shares(height: int, size: int) -> np.ndarray:
    """float32 [size, height]: how much of each source row lies in each target row; rows sum to 1."""
    edges = np.linspace(0, height, size + 1)
    rows = np.arange(height)
    overlap = np.minimum(edges[1:, None], rows + 1) - np.maximum(edges[:-1, None], rows)
    return (np.clip(overlap, 0, None) * size / height).astype(np.float32)


def _draw(shares: list[float], rng: np.random.Generator) -> int:
    return int(rng.choice(len(shares), p=np.asarray(shares) / sum(shares)))
