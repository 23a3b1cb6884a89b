"""Who attends with whom in one batch, worked out once: rows cut into segments, equal ones grouped, masks where needed.

Units are what never looks outside itself: the clips where frames meet, else their frames. Neighbours of one shape are
one piece of the rows, so a regular batch is a single piece and only ever reshaped; a group is one call of the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from einops import rearrange, repeat

from components.column_cuts import Cut
from components.contracts import Memory, Tokens, Window

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Piece:
    """Units of one shape that lie side by side in the rows."""

    units: tuple[int, ...]
    """The clip of each."""
    frames: int
    """Of a unit."""
    cut: Cut
    order: Tensor | None
    """long [S]: columns brought together group by group; None where they lie so already."""
    back: Tensor | None
    """long [S]: the inverse of `order`."""

    @property
    def tokens(self) -> int:
        return len(self.units) * self.frames * self.cut.columns


@dataclass(frozen=True)
class Group:
    """Segments of equal length: one batched call."""

    members: tuple[tuple[int, int], ...]
    """(piece, class of its cut) of every part, in order."""
    counts: tuple[int, ...]
    """Segments in each part, those folded left out; N in all."""
    frames: int
    """Of a segment, its remembered ones left out."""
    columns: int
    """Tokens of a segment in one frame."""
    unit: Tensor | None
    """long [N], the unit of each segment; None where segments are the units in order, or nothing asks for it."""
    mask: Tensor | None
    """float [N or 1, 1, q, k]: 0 or minus infinity, where there is no bias; None where all is seen."""
    folded: int = 1
    """Segments of a unit that stand among its heads, [N, folded · K, n, Dh]: a view, not a copy."""


@dataclass(frozen=True)
class Ragged:
    """Unmasked segments that follow each other in the rows, as kernels for uneven sequences take them."""

    bounds: Tensor
    """int32 [N + 1]: where they begin and end; filler is a segment too."""
    longest: int
    filler: Tensor | None
    """bool [R L]; None where there is none."""


@dataclass(frozen=True)
class Plan:
    """One sublayer's segments."""

    pieces: tuple[Piece | int, ...]
    """In the order of the rows; a number is that many filler tokens."""
    groups: tuple[Group, ...]
    visible: Tensor | None
    """bool [B, Fq, Fk]; None where frames do not meet."""
    raster: Tensor | None
    """bool [units, F]: frames made in raster order; None where there are none."""
    ragged: Ragged | None


def plan(
    tokens: Tokens, window: Window, cuts: Sequence[Cut], visible: Tensor | None, memory: Memory | None = None
) -> Plan:
    """The plan of one sublayer.

    Args:
        tokens, window: of the queries.
        cuts: of every clip's picture.
        visible: bool [B, Fq, Fk], which frames a frame may look at; None where frames do not meet.
        memory: what stands before the queries' own keys, where frames meet.

    Raises:
        ValueError: clips of mixed sizes with a memory or in raster order.
    """
    _require_one_size(tokens, window, memory)
    pieces = _pieces(tokens, cuts, visible is not None)
    raster = window.raster
    if raster is not None and visible is None:
        raster = rearrange(raster, "b f -> (b f) 1")
    groups = _groups(tokens, pieces, visible, raster)
    unmasked = visible is None or all(group.mask is None for group in groups)
    ragged = _ragged(pieces, tokens) if unmasked and raster is None and memory is None else None
    return Plan(pieces, groups, visible, raster, ragged)


def _require_one_size(queries: Tokens, window: Window, memory: Memory | None) -> None:
    """Cached keys join queries row by row, and raster order is a mask of one shape for all clips."""
    if window.raster is not None and not queries.regular:
        raise ValueError("raster order needs clips of one size, one per row: group clips of different sizes")
    if memory is None:
        return
    keys = memory.tokens
    same = queries.regular and keys.regular and len(queries.grids) == len(keys.grids)
    if not same or queries.grids[0][1:] != keys.grids[0][1:]:
        raise ValueError("memory needs clips of one size, one per row; group clips of different sizes before sampling")


def _pieces(tokens: Tokens, cuts: Sequence[Cut], meets: bool) -> tuple[Piece | int, ...]:
    """The rows, end to end, as runs of equal units and filler between them."""
    found: list[list] = []  # [units, frames, cut], or [number of filler tokens]
    at, length = 0, tokens.x.shape[1]
    for b in sorted(range(len(cuts)), key=lambda b: tokens.starts[b]):
        (f, h, w), (row, column) = tokens.grids[b], tokens.starts[b]
        start = row * length + column
        if start > at:
            found.append([start - at])
        units, frames = ([b], f) if meets else ([b] * f, 1)
        if found and found[-1][1:] == [frames, cuts[b]]:
            found[-1][0] += units
        else:
            found.append([units, frames, cuts[b]])
        at = start + f * h * w
    if tokens.x.shape[0] * length > at:
        found.append([tokens.x.shape[0] * length - at])
    orders: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}
    return tuple(
        run[0] if len(run) == 1 else Piece(tuple(run[0]), run[1], run[2], *_order(run[2], orders, tokens.x.device))
        for run in found
    )


def _order(
    cut: Cut, known: dict[tuple[int, ...], tuple[Tensor, Tensor]], device: torch.device
) -> tuple[Tensor | None, Tensor | None]:
    if cut.order is None:
        return None, None
    if cut.order not in known:
        back = sorted(range(cut.columns), key=cut.order.__getitem__)
        known[cut.order] = (torch.tensor(cut.order, device=device), torch.tensor(back, device=device))
    return known[cut.order]


def _groups(
    tokens: Tokens, pieces: Sequence[Piece | int], visible: Tensor | None, raster: Tensor | None
) -> tuple[Group, ...]:
    """Segments of one length together, whatever clips they are of."""
    hidden, alike = _hidden(visible, tokens) if visible is not None else ([False] * len(tokens.grids), True)
    once = len(pieces) == 1 and alike and raster is None  # one mask serves every segment
    folded = _folded(pieces, tokens.x.device)
    made = []
    for (frames, columns), members in _by_length(pieces).items():
        parts = [(pieces[p].units, pieces[p].cut.classes[c][0]) for p, c in members]  # type: ignore[union-attr]
        unit = None if len(pieces) == 1 and _in_order(*parts[0], folded) else _units(parts, visible, raster)
        mask = None
        if any(hidden[unit] for units, _ in parts for unit in units) or (raster is not None and columns > 1):
            segments = Group((), (), frames, columns, None if once else unit, None)
            mask = _mask(tokens, segments, visible, raster, once=once)
        counts = tuple(len(units) * groups // folded for units, groups in parts)
        made.append(Group(tuple(members), counts, frames, columns, unit, mask, folded))
    return tuple(made)


def _by_length(pieces: Sequence[Piece | int]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """(frames, columns) of a segment → where such segments are: the piece, and the class of its cut."""
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for p, piece in enumerate(pieces):
        if isinstance(piece, Piece):
            for c, (_, columns) in enumerate(piece.cut.classes):
                found.setdefault((piece.frames, columns), []).append((p, c))
    return found


def _in_order(units: tuple[int, ...], groups: int, folded: int) -> bool:
    """Whether segment k is of unit k, so that nobody need be told whose it is."""
    return groups in (1, folded) and units == tuple(sorted(units))


def _units(
    parts: Sequence[tuple[tuple[int, ...], int]], visible: Tensor | None, raster: Tensor | None
) -> Tensor | None:
    """Whose each segment is: [segments]; None where neither a visibility nor a raster differs by that."""
    if visible is not None:
        return torch.tensor([u for us, groups in parts for u in us for _ in range(groups)], device=visible.device)
    if raster is not None:
        return repeat(torch.arange(len(raster), device=raster.device), "u -> (u g)", g=parts[0][1])
    return None


def _mask(tokens: Tokens, segments: Group, visible: Tensor | None, raster: Tensor | None, *, once: bool) -> Tensor:
    """What the segments' tokens see of each other; `once`: all units alike, so the first speaks for all."""
    if visible is None:
        assert raster is not None
        visible = torch.ones(len(raster), 1, 1, dtype=torch.bool, device=raster.device)
    logits = frame_logits(visible[:1] if once else visible, None, matrix_dtype(tokens.x))
    return token_mask(logits, segments, raster)


def _folded(pieces: Sequence[Piece | int], device: torch.device) -> int:
    """Places of a picture where each is a segment of its own, in regular rows on the CPU; else 1.

    Kernels of GPUs take fewer heads than there may be places.
    """
    only = pieces[0]
    if len(pieces) > 1 or device.type != "cpu" or not isinstance(only, Piece) or only.order is not None:
        return 1
    if only.units != tuple(sorted(only.units)):
        return 1
    return only.cut.columns if only.cut.classes == ((only.cut.columns, 1),) else 1


def _hidden(visible: Tensor, tokens: Tokens) -> tuple[list[bool], bool]:
    """Per clip, whether a frame does not see another of its own; and whether all clips are alike in that.

    The only look at values: once a batch, outside the layers. Where values cannot be read (a compiler's trace, tensors
    without storage) every mask is kept.
    """
    if torch.compiler.is_compiling() or visible.is_meta:
        return [True] * len(visible), False
    unseen = ~visible
    if not tokens.regular:
        lengths = torch.tensor([f for f, _, _ in tokens.grids], device=visible.device)
        real = torch.arange(visible.shape[1], device=visible.device) < lengths[:, None]
        unseen = unseen & rearrange(real, "b q -> b q 1") & rearrange(real, "b k -> b 1 k")
    alike = (visible == visible[:1]).all()
    *hidden, same = torch.cat([unseen.flatten(1).any(1), alike[None]]).tolist()
    return hidden, same


def matrix_dtype(x: Tensor) -> torch.dtype:
    """What a linear layer makes of x: autocast's type where it is on."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return x.dtype


def frame_logits(visible: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """What is added to logits: bias [B, K, Fq, Fk] (or zero) where visible [B, Fq, Fk], minus infinity elsewhere."""
    seen = rearrange(visible, "b q k -> b 1 q k")
    inside = torch.zeros((), dtype=dtype, device=visible.device) if bias is None else bias.to(dtype)
    return torch.where(seen, inside, float("-inf"))


def token_mask(logits: Tensor, group: Group, raster: Tensor | None) -> Tensor:
    """Logits of units [U, K, Fq, Fk] to those of a group's segments [N, K, q, k].

    In frames made in raster order a token sees none of its own frame that comes after it.
    """
    if group.unit is not None:  # rows hold clips of several lengths, and each has its own frames first
        logits = logits.index_select(0, group.unit)
    n, past = group.columns, max(0, logits.shape[3] - logits.shape[2])
    logits = logits[:, :, : group.frames, : past + group.frames]
    if n == 1:
        alike = group.folded == 1 or logits.shape[1] == 1
        return logits if alike else repeat(logits, "u k q m -> u (g k) q m", g=group.folded)
    mask = repeat(logits, "u k q m -> u k (q n) (m l)", n=n, l=n)
    if raster is None:
        return mask
    asking = raster if group.unit is None else raster.index_select(0, group.unit)
    own = torch.eye(group.frames, dtype=torch.bool, device=mask.device)
    after = torch.ones(n, n, dtype=torch.bool, device=mask.device).triu(1)
    later = rearrange(asking, "u q -> u q 1 1 1") & rearrange(own, "q m -> q 1 m 1") & rearrange(after, "n l -> n 1 l")
    later = rearrange(later, "u q n m l -> u 1 (q n) (m l)")
    return mask.masked_fill(torch.nn.functional.pad(later, (past * n, 0)), float("-inf"))


def _ragged(pieces: Sequence[Piece | int], tokens: Tokens) -> Ragged | None:
    """For packed rows in which every segment is a whole unit."""
    if len(pieces) == 1 or any(isinstance(piece, Piece) and not piece.cut.whole for piece in pieces):
        return None
    lengths: list[int] = []
    for piece in pieces:
        one = piece.frames * piece.cut.columns if isinstance(piece, Piece) else piece
        lengths += [one] * (len(piece.units) if isinstance(piece, Piece) else 1)
    bounds = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32).to(tokens.x.device)
    filler = (tokens.clip < 0).flatten() if any(isinstance(piece, int) for piece in pieces) else None
    return Ragged(bounds, max(lengths), filler)
