"""The embedded world in which memory can be tested: textured mazes toured so that places come back."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from components import raycast
from components.contracts import Clip, DataReport, Split
from components.maze_world import EYE_HEIGHT, MazeWorld, build_world
from components.tour import TourKind, actions_between, draw_tour, tour_name
from zoo.component import Config, component
from zoo.errors import BadValue

EDITION = 1
"""Part of the fingerprint: raise it when the same options would give other pictures, poses or tours."""
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
FPS = 15.0


@component(
    cite=None,
    note="procedural textured first-person mazes; tours that return, with actions, poses and a render oracle",
    gives={"poses", "actions"},
)
class Maze:
    """Procedural mazes, no paper; each episode is one maze and one closed tour of it, frame = render(pose).

    Built as ``Maze(config)``; a reader is accepted and not used. Everything follows from the options: nothing is read.
    """

    action_dim = 3
    """Forward, left (cells, in the agent's frame) and yaw change (radians)."""

    class Config(Config):
        """Options of the maze."""

        size: int = Field(32, ge=8, le=512, description="height and width of a frame in pixels")
        supersample: Literal[1, 2] = Field(2, description="rays per pixel along each side")
        frames: int = Field(500, ge=2, le=20_000, description="frames of an episode")
        train: int = Field(200, ge=0, description="episodes to train on; each is a maze of its own")
        validation: int = Field(16, ge=0, description="episodes to tune on")
        test: int = Field(16, ge=0, description="episodes to score on")
        seed: int = Field(0, ge=0, description="of mazes and tours")
        blocks: int = Field(7, ge=5, le=31, description="blocks along a side, the solid border included")
        landmarks: int = Field(5, ge=0, le=32, description="coloured posts in a maze")
        tours: dict[TourKind, float] = Field(
            {"loop": 0.4, "spin": 0.3, "out_and_back": 0.3}, description="share of each kind of tour"
        )
        wobble: float = Field(0.5, ge=0, le=1, description="share of episodes whose path never quite repeats")
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
        self._world = lru_cache(maxsize=16)(self._build)

    def fingerprint(self) -> str:
        """Hash of the options and the edition of the generator."""
        said = json.dumps(["maze", EDITION, self.config.model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

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
        """One episode: frames uint8 [T, size, size, 3], poses [T, 4], actions [T-1, 3]; about 0.1 s for 500 frames."""
        kind, lap, wobble, poses = self._tour(split, index)
        return Clip(
            frames=self.render(split, index, poses),
            times=np.arange(len(poses)) / FPS,
            fps=FPS,
            actions=actions_between(poses),
            poses=poses,
            episode=f"maze/{self.config.seed}/{split}/{index}",
            tour=tour_name(kind, wobble),
            source=f"maze/{kind}/lap={lap}/wobble={int(wobble)}",
            licence="CC0-1.0 (procedural)",
        )

    def render(self, split: Split, index: int, poses: np.ndarray) -> np.ndarray:
        """What stands at `poses` [N, 4] in the maze of an episode: uint8 [N, size, size, 3].

        Raises:
            BadValue: a pose that is not in a free cell of this maze.
        """
        world = self._world(self.world_seed(split, index))
        try:
            return raycast.render(world, poses, size=self.config.size, supersample=self.config.supersample)
        except ValueError as error:
            raise BadValue(f"{split} maze {index}: {error}; poses of its own clips always are.") from error

    def depth(self, split: Split, index: int, poses: np.ndarray) -> np.ndarray:
        """Distance along the view axis in cells at `poses` [N, 4]: float32 [N, size, size]."""
        return raycast.depth(self._world(self.world_seed(split, index)), poses, size=self.config.size)

    def _build(self, world_seed: int) -> MazeWorld:
        return build_world(
            (self.config.seed, world_seed, 0), blocks=self.config.blocks, landmarks=self.config.landmarks
        )

    def _tour(self, split: Split, index: int) -> tuple[TourKind, int, bool, np.ndarray]:
        config, number = self.config, self.world_seed(split, index)
        rng = np.random.default_rng((config.seed, number, 1))
        kind, wobble = self._kind(split, index)
        lap = int(rng.integers(config.lap[0], config.lap[1] + 1))
        free = ~self._world(number).solid
        poses = draw_tour(kind, free, frames=config.frames, lap=lap, wobble=wobble, height=EYE_HEIGHT, rng=rng)
        return kind, lap, wobble, poses

    def _kind(self, split: Split, index: int) -> tuple[TourKind, bool]:
        """Kind of tour and wobble, evenly spread over the index: any few episodes hold close to the asked shares."""
        start = np.random.default_rng((self.config.seed, SPLITS.index(split), 2)).random(2)
        # The additive sequence of the plastic number spreads points evenly over the unit square.
        at, shake = (start + index * np.array([0.7548776662466927, 0.5698402909980532])) % 1.0
        tours = {kind: share for kind, share in self.config.tours.items() if share > 0}
        edges = np.cumsum(list(tours.values())) / sum(tours.values())
        chosen = list(tours)[min(int(np.searchsorted(edges, at, side="right")), len(tours) - 1)]
        return chosen, bool(shake < self.config.wobble)
