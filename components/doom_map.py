"""Procedural corridors as a Doom map: carve a grid, write it as UDMF text, wrap that in a three-lump PWAD.

UDMF needs no node builder: the engine builds its own when it loads the text. One grid cell is one sector.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

UNITS = 128
"""Doom map units to a cell, the width of a corridor; floors lie at 0 and ceilings at one cell."""

WALLS = (
    "STARTAN3", "BRICK1", "STONE2", "WOOD1", "METAL1", "MARBLE1", "BROWN1", "BIGBRIK1", "TEKWALL1", "ASHWALL2",
    "GSTONE1", "COMPSTA1",
)  # fmt: skip
FLATS = ("FLOOR0_1", "FLOOR4_8", "FLAT14", "FLAT5_5", "CEIL3_5", "MFLR8_1", "GRASS1", "FLAT1", "RROCK09", "FLOOR7_1")
ORNAMENTS = (2028, 30, 31, 32, 33, 35, 43, 47, 48, 54)
"""Editor numbers of a lamp, pillars, a candelabra, trees, a column: none of them is animated."""

SIDES = ((0, 1), (1, 0), (0, -1), (-1, 0))
"""(dy, dx) of the four neighbours: east, north, west, south."""


def carve(rooms: int, openings: float, rng: np.random.Generator) -> np.ndarray:
    """Corridors bool [rows, columns], 2·rooms + 1 each: a ring just inside the border around a depth-first maze.

    Every wall between two rooms is opened with probability `openings`, which turns dead ends into loops.
    """
    side = 2 * rooms + 1
    free = np.zeros((side, side), dtype=bool)
    free[1, 1] = True
    trail = [(1, 1)]
    while trail:
        y, x = trail[-1]
        ahead = [(dy, dx) for dy, dx in SIDES if 0 < y + 2 * dy < side and 0 < x + 2 * dx < side]
        ahead = [(dy, dx) for dy, dx in ahead if not free[y + 2 * dy, x + 2 * dx]]
        if not ahead:
            trail.pop()
            continue
        dy, dx = ahead[rng.integers(len(ahead))]
        free[y + dy, x + dx] = free[y + 2 * dy, x + 2 * dx] = True
        trail.append((y + 2 * dy, x + 2 * dx))
    between_rooms = np.add.outer(np.arange(side), np.arange(side)) % 2 == 1
    free |= between_rooms & (rng.random((side, side)) < openings)
    free[1, :] = free[-2, :] = free[:, 1] = free[:, -2] = True  # the ring that `loop` tours walk
    free[0, :] = free[-1, :] = free[:, 0] = free[:, -1] = False
    return free


def map_text(free_yx: np.ndarray, rng: np.random.Generator) -> str:
    """The UDMF text: a texture drawn for every wall, floor and ceiling, a light for every cell, ornaments in corners.

    Cell (row, column) of bool [rows, columns] covers map units 128·column … and 128·row …, so y grows with the row.
    """
    cells = [(int(y), int(x)) for y, x in np.argwhere(free_yx)]
    number = {cell: i for i, cell in enumerate(cells)}
    vertices: dict[tuple[int, int], int] = {}
    sides: list[str] = []
    lines: list[str] = []
    for (y, x), sector in number.items():
        for dy, dx in SIDES:
            start, end = (vertices.setdefault(corner, len(vertices)) for corner in _edge(y, x, dy, dx))
            beyond = number.get((y + dy, x + dx))
            if beyond is None:
                sides.append(_block("sidedef", sector=sector, texturemiddle=str(rng.choice(WALLS))))
                lines.append(_block("linedef", v1=start, v2=end, sidefront=len(sides) - 1, blocking=True))
            elif beyond > sector:  # one line between two cells, written by the first of them
                sides += [_block("sidedef", sector=sector), _block("sidedef", sector=beyond)]
                back, front = len(sides) - 1, len(sides) - 2
                lines.append(_block("linedef", v1=start, v2=end, sidefront=front, sideback=back, twosided=True))
    points = [_block("vertex", x=float(x * UNITS), y=float(y * UNITS)) for x, y in vertices]
    sectors = [_sector(rng) for _ in cells]
    return "\n".join(['namespace = "zdoom";', *_things(cells, rng), *points, *lines, *sides, *sectors]) + "\n"


def wad_bytes(text: str) -> bytes:
    """A PWAD that holds the map as MAP01: header, lump contents, then the directory of (offset, size, name)."""
    lumps = ((b"MAP01", b""), (b"TEXTMAP", text.encode("ascii")), (b"ENDMAP", b""))
    body, directory = b"", b""
    for name, content in lumps:
        directory += struct.pack("<ii8s", 12 + len(body), len(content), name)
        body += content
    return struct.pack("<4sii", b"PWAD", len(lumps), 12 + len(body)) + body + directory


def _edge(y: int, x: int, dy: int, dx: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Corners (x, y) of the cell's side towards (dy, dx), the cell to the right of the line: Doom's front."""
    corners = {
        (0, 1): ((x + 1, y + 1), (x + 1, y)),
        (1, 0): ((x, y + 1), (x + 1, y + 1)),
        (0, -1): ((x, y), (x, y + 1)),
        (-1, 0): ((x + 1, y), (x, y)),
    }
    return corners[dy, dx]


def _sector(rng: np.random.Generator) -> str:
    floor, ceiling = (str(name) for name in rng.choice(FLATS, size=2))
    light = int(rng.integers(10, 16)) * 16
    return _block(
        "sector", texturefloor=floor, textureceiling=ceiling, heightfloor=0, heightceiling=UNITS, lightlevel=light
    )


def _things(cells: list[tuple[int, int]], rng: np.random.Generator) -> list[str]:
    """The player's start in the first cell, and an ornament in a corner of about every third of the others."""
    anywhere: Mapping[str, object] = {f"skill{i}": True for i in range(1, 6)} | {"single": True}
    y, x = cells[0]
    things = [_block("thing", x=(x + 0.5) * UNITS, y=(y + 0.5) * UNITS, angle=0, type=1, **anywhere)]
    for y, x in cells[1:]:
        if rng.random() < 1 / 3:
            at_x, at_y = (float(c + rng.choice([0.12, 0.88])) * UNITS for c in (x, y))
            things.append(_block("thing", x=at_x, y=at_y, angle=0, type=int(rng.choice(ORNAMENTS)), **anywhere))
    return things


def _block(kind: str, **fields: object) -> str:
    """One UDMF block; booleans in lower case, texts in quotes."""

    def literal(value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        return f'"{value}"' if isinstance(value, str) else str(value)

    return kind + " { " + " ".join(f"{key} = {literal(value)};" for key, value in fields.items()) + " }"
