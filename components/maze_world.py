"""A block world made from one seed: a ring corridor with random pillars, and no two walls alike.

One cell is one block wide. Every wall face has its own pair of colours and one of six coarse patterns; coloured posts
(landmarks) stand against walls. Everything the ray caster looks up is packed here, darkened by distance beforehand.
"""

from __future__ import annotations

from colorsys import hsv_to_rgb
from dataclasses import dataclass

import numpy as np

from components.tour import breadth_first

WALL_HEIGHT = 2.2
EYE_HEIGHT = 1.1
TEXELS_ACROSS, TEXELS_UP = 8, 16
FOG_LEVELS = 16
FOG_REACH = 6.0
"""Cells after which it gets no darker."""
FOG_DARKEST = 0.45
POST_RADIUS = 0.11
POST_OFFSET = 0.38
"""From the centre of the cell towards its wall; tours pass at 0.12 at most, so nobody walks into a post."""

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class MazeWorld:
    """What is needed to draw one maze."""

    solid: np.ndarray
    """bool [rows, columns]; the border is solid."""
    face_row: np.ndarray
    """int32 [rows * columns * 4]: where the texture of a face starts in `atlas`; 0 for faces that cannot be seen.
    Sides are numbered as a ray meets them: moving +x, -x, +y, -y."""
    atlas: np.ndarray
    """uint32, flat over [face, fog, across, up + 2]: packed colours; the first and last texel up are 0 (no wall)."""
    floor: np.ndarray
    """float32 [3] in [0, 255]."""
    ceiling: np.ndarray
    posts: np.ndarray
    """float32 [L, 3]: x, y, height of each landmark."""
    post_colours: np.ndarray
    """float32 [L, 3]."""


def fog(distance: np.ndarray) -> np.ndarray:
    """Share of light that is left after `distance` cells."""
    return 1.0 - (1.0 - FOG_DARKEST) * np.minimum(distance / FOG_REACH, 1.0)


def pack(rgb: np.ndarray) -> np.ndarray:
    """[..., 3] in [0, 255] to uint32 with an opaque fourth byte, so that 0 means nothing is there."""
    out = np.full((*rgb.shape[:-1], 4), 255, np.uint8)
    out[..., :3] = np.clip(rgb + 0.5, 0, 255)
    return out.view(np.uint32)[..., 0]


def build_world(entropy: tuple[int, ...], *, blocks: int, landmarks: int) -> MazeWorld:
    """The maze of this seed: `blocks` × `blocks`, its border solid; the same on every machine."""
    rng = np.random.default_rng(entropy)
    solid = _carve(blocks, rng)
    faces = _visible_faces(solid)
    face_row = np.zeros(solid.size * 4, np.int32)
    row = FOG_LEVELS * TEXELS_ACROSS * (TEXELS_UP + 2)
    face_row[faces] = np.arange(len(faces)) * row
    posts = _place_posts(solid, landmarks, rng)
    floor, ceiling = _colour(rng, 0.35, 0.45), _colour(rng, 0.2, 0.8)
    hues = (np.arange(landmarks) / max(landmarks, 1) + rng.random()) % 1.0
    post_colours = np.array([hsv_to_rgb(hue, 0.95, 1.0) for hue in hues], np.float32).reshape(-1, 3) * 255
    return MazeWorld(solid, face_row, _atlas(faces, rng), floor, ceiling, posts, post_colours[: len(posts)])


def _carve(blocks: int, rng: np.random.Generator) -> np.ndarray:
    """The border and random inner blocks are solid; the ring between them is free; enclosed holes are filled."""
    solid = np.ones((blocks, blocks), bool)
    solid[1:-1, 1:-1] = False
    inner = solid[2:-2, 2:-2]
    inner |= rng.random(inner.shape) < 0.55
    inner.flat[rng.integers(inner.size)] = True  # at least one pillar to walk around
    reached, _ = breadth_first(~solid, (1, 1))
    holes = ~solid
    for cell in reached:
        holes[cell] = False
    return solid | holes


def _visible_faces(solid: np.ndarray) -> np.ndarray:
    """Flat indices (cell * 4 + side) of solid faces that border a free cell."""
    free = np.pad(~solid, 1)
    beside = np.stack([free[1:-1, :-2], free[1:-1, 2:], free[:-2, 1:-1], free[2:, 1:-1]], axis=-1)
    return np.flatnonzero(beside & solid[..., None])


def _colour(rng: np.random.Generator, saturation: float, value: float) -> np.ndarray:
    return np.array(hsv_to_rgb(rng.random(), saturation, value), np.float32) * 255


def _colours(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """[F, 3] in [0, 1]."""
    return np.array([hsv_to_rgb(*hsv) for hsv in zip(hue, saturation, value, strict=True)])


def _patterns() -> np.ndarray:
    """bool [6, across, up]: stripes, bands, checks, diagonals, a frame, a diamond; nothing finer than two texels."""
    u, v = np.mgrid[:TEXELS_ACROSS, :TEXELS_UP]
    return np.stack(
        [
            u // 2 % 2 == 0,
            v // 3 % 2 == 0,
            (u // 4 + v // 4) % 2 == 0,
            (u + v) // 3 % 2 == 0,
            (np.minimum(u, TEXELS_ACROSS - 1 - u) < 2) | (np.minimum(v, TEXELS_UP - 1 - v) < 3),
            np.abs(u - 3.5) / 4 + np.abs(v - 7.5) / 7 < 1,
        ]
    )


def _atlas(faces: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Textures of all faces at all fog levels, packed."""
    masks = _patterns()[rng.integers(6, size=len(faces))]
    first = rng.random(len(faces))
    second = (first + rng.uniform(0.2, 0.8, len(faces))) % 1.0
    light = _colours(first, rng.uniform(0.25, 0.65, len(faces)), rng.uniform(0.65, 0.9, len(faces)))
    dark = _colours(second, rng.uniform(0.3, 0.7, len(faces)), rng.uniform(0.35, 0.6, len(faces)))
    # Faces across y are a little darker than faces across x, so that corners show.
    sun = np.where(faces % 4 < 2, 255.0, 215.0)[:, None]
    light, dark = (light * sun)[:, None, None], (dark * sun)[:, None, None]
    texture = np.where(masks[..., None], light, dark).astype(np.float32)
    levels = fog(np.arange(FOG_LEVELS, dtype=np.float32) * (FOG_REACH / (FOG_LEVELS - 1)))
    atlas = np.zeros((len(faces), FOG_LEVELS, TEXELS_ACROSS, TEXELS_UP + 2), np.uint32)
    atlas[..., 1:-1] = pack(texture[:, None] * levels[None, :, None, None, None])
    return atlas.reshape(-1)


def _place_posts(solid: np.ndarray, landmarks: int, rng: np.random.Generator) -> np.ndarray:
    """Landmarks in different cells, each against a wall of its cell."""
    posts = []
    for row, column in rng.permutation(np.argwhere(~solid))[:landmarks]:
        sides = [(dy, dx) for dy, dx in ((1, 0), (-1, 0), (0, 1), (0, -1)) if solid[row + dy, column + dx]]
        if sides:
            dy, dx = sides[rng.integers(len(sides))]
            x, y = column + 0.5 + POST_OFFSET * dx, row + 0.5 + POST_OFFSET * dy
            posts.append((x, y, rng.uniform(0.7, 1.8)))
    return np.array(posts, np.float32).reshape(-1, 3)
