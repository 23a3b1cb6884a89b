"""Positions and camera poses: facts that hold whatever the network around them."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from components.relative_pose import seen_from
from components.rotary import turned
from zoo import registry
from zoo.errors import BadValue

close = partial(torch.testing.assert_close, rtol=0, atol=1e-5)


def test_seen_from_turns_with_the_viewer() -> None:
    viewer, target = torch.tensor([1.0, 1.0, 0.0, math.pi / 2]), torch.tensor([1.0, 3.0, 0.5, math.pi])
    place, turn = seen_from(viewer, target)
    close(place, torch.tensor([2.0, 0.0, 0.5]))  # looking along +y, two cells ahead
    close(turn, torch.tensor(math.pi / 2))
    close(seen_from(viewer, torch.tensor([0.0, 1.0, 0.0, 0.0]))[0], torch.tensor([0.0, 1.0, 0.0]))  # −x is its left


def moved(poses: torch.Tensor, angle: float) -> torch.Tensor:
    """The same walk in a world that was turned and shifted, its yaw told with whole turns added."""
    x, y, z, yaw = poses.unbind(-1)
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.stack([cos * x - sin * y + 3, sin * x + cos * y - 2, z + 1, yaw + angle + 2 * math.pi], dim=-1)


def test_relative_bias_knows_relative_pose_only() -> None:
    bias = registry.build("pose_encoding", "relative_bias", width=24, heads=4, depth=3)
    poses = torch.cat([3 * torch.rand(2, 6, 3), 6 * torch.rand(2, 6, 1)], dim=-1)
    out = bias.bias(poses[:, :4], poses)
    assert out.shape == (3, 2, 4, 4, 6) and bias.embed(poses, poses[:, 0]) is None
    torch.testing.assert_close(out, bias.bias(moved(poses, 0.8)[:, :4], moved(poses, 0.8)), rtol=1e-3, atol=1e-4)


def test_relative_bias_starts_by_looking_at_the_same_pose() -> None:
    bias = registry.build("pose_encoding", "relative_bias", width=24, heads=4, depth=2)
    here, there = torch.zeros(1, 1, 4), torch.tensor([[[2.0, 1.0, 0.0, 1.5]]])
    gain = (bias.bias(here, here) - bias.bias(here, there))[:, 0, :, 0, 0]
    assert (gain[:, ::2] > 0.5).all(), "every other head leans towards the same pose"
    assert (gain[:, 1::2].abs() < gain[:, ::2].min()).all()


def test_additive_pose_is_relative_to_the_origin() -> None:
    pose = registry.build("pose_encoding", "additive", width=24, heads=4, depth=2)
    poses, origin = torch.rand(2, 5, 4), torch.rand(2, 4)
    out = pose.embed(poses, origin)
    assert out.shape == (2, 5, 24) and pose.bias(poses, poses) is None
    torch.testing.assert_close(out, pose.embed(moved(poses, 0.5), moved(origin, 0.5)), rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="origin"):
        pose.embed(poses, None)


# ------------------------------------------------------------------------------------------------ added positions

POSITIONS = registry.names("position")
TURNING = {"rope_3d"}
"""Positions that turn queries and keys; all others are added."""


def places(t: Any, y: Any, x: Any) -> torch.Tensor:
    """Coordinates [1, L, 3]; each a number or a list of L."""
    return torch.stack(torch.broadcast_tensors(*(torch.as_tensor(a).float() for a in (t, y, x))), dim=-1).reshape(
        1, -1, 3
    )


def told(position: Any, place: torch.Tensor, height: float, width: float) -> torch.Tensor:
    """What a position says of places [1, L, 3] in a picture of these sides: [L, …]."""
    sides = torch.tensor([float(height), float(width)]).expand(1, place.shape[1], 2)
    embedded, turns = position.embed(place, sides), position.rotary(place, sides)
    assert (embedded is None) != (turns is None), "added or turned, one of the two"
    return embedded[0] if turns is None else torch.cat(turns, dim=-1)[0]


def test_the_walk_sees_every_position() -> None:
    assert {"learned_3d", "fractional", "sincos_3d", "rope_3d"} <= set(POSITIONS)
    for name in POSITIONS:
        position = registry.build("position", name, width=24, heads=2)
        assert (position.embed(places(0, 0, 0), torch.ones(1, 1, 2)) is None) == (name in TURNING)


@pytest.mark.parametrize("name", POSITIONS)
@pytest.mark.parametrize("width", [24, 26, 32])
def test_positions_are_continuous_and_have_no_outside(name: str, width: int) -> None:
    position = registry.build("position", name, width=width, heads=1)
    spoken = told(position, places(torch.linspace(-40, 40, 161), 1, 2), 4, 4)
    assert spoken.shape == (161, width) and spoken.dtype == torch.float32
    gaps = (spoken[2:] - spoken[:-2]).norm(dim=-1)  # whole frames apart
    assert gaps.min() > 1e-3, "neighbouring frames differ"
    assert gaps.max() < 2.5 * width**0.5 * 0.5
    far = places([5000.0, -5000.0, 1e6], [300.0, 0.0, 65.0], [1e4, 0.0, 64.0])
    assert torch.isfinite(told(position, far, 2e4, 2e4)).all()


@pytest.mark.parametrize("name", POSITIONS)
def test_every_axis_is_told_apart_at_any_size(name: str) -> None:
    position = registry.build("position", name, width=24, heads=2)
    for height, width in ((2, 3), (7, 4), (40, 90)):
        here = told(position, places(3, 1, 1), height, width)
        for moved in ((4, 1, 1), (3, 0, 1), (3, 1, 2)):
            assert (told(position, places(*moved), height, width) - here).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["learned_3d", "fractional"])
def test_every_table_learns(name: str) -> None:
    position = registry.build("position", name, width=24, heads=2)
    assert len(list(position.parameters())) == 3
    told(position, places(torch.linspace(-3, 3, 9), 2, 1.5), 5, 4).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in position.parameters())


def zeroed(position: Any, *tables: torch.Tensor) -> Any:
    """With random tables but these, which are zero, so that what is left is one axis' own."""
    for table in position.parameters():
        torch.nn.init.normal_(table)
    for table in tables:
        torch.nn.init.zeros_(table)
    return position


def test_learned_positions_at_a_knot_and_halfway() -> None:
    position = registry.build("position", "learned_3d", {"max_side": 4}, width=8, heads=2)
    zeroed(position, position.time.table, position.x)
    at = lambda y: told(position, places(0, y, 0), 1, 1)[0]  # noqa: E731
    close(at(3.0), position.y[3])
    close(at(2.25), 0.75 * position.y[2] + 0.25 * position.y[3])
    close(at(8.0), position.y[6])  # 2M − M²/8, M = 4
    close(at(1e9), position.y[8])


@pytest.mark.parametrize("name", ["learned_3d", "fractional"])
def test_time_is_read_between_knots_even_in_asinh(name: str) -> None:
    options = {"time_knots": 5, "time_scale": 2.0, "time_reach": 30.0}
    position = registry.build("position", name, options, width=8, heads=2)
    zeroed(position, position.y, position.x)
    at = lambda t: told(position, places(t, 0, 0), 1, 1)[0]  # noqa: E731
    table, edge = position.time.table, math.asinh(15.0)
    for knot, share in enumerate((-1, -0.5, 0, 0.5, 1)):
        close(at(2 * math.sinh(share * edge)), table[knot])
    close(at(2 * math.sinh(0.25 * edge)), 0.5 * table[2] + 0.5 * table[3])
    close(at(1e6), table[4])


def test_fractional_reads_the_middle_of_each_patch() -> None:
    position = registry.build("position", "fractional", {"knots": 9}, width=8, heads=2)
    zeroed(position, position.time.table, position.x)
    at = lambda y, height: told(position, places(0, y, 0), height, 5)[0]  # noqa: E731
    close(at(0, 1), position.y[4])  # one patch lies in the middle
    close(at(0, 4), position.y[1])  # ½ / 4 of eight steps
    close(at(1, 8), 0.5 * position.y[1] + 0.5 * position.y[2])
    # Twice as fine a grid: the mean of two neighbouring middles is the coarse patch's own where no knot lies between.
    close(at(0, 16) + at(1, 16), 2 * at(0, 8))
    for height in (3, 10, 100):  # the same range, evenly, whatever the size: mirror places lie mirrored
        knots = 8 * (torch.arange(height) + 0.5) / height
        spoken = told(position, places(0, torch.arange(height), 0), height, 5)
        expected = [np.interp(knots, np.arange(9), position.y[:, d].detach()) for d in range(8)]
        close(spoken, torch.tensor(np.stack(expected, axis=-1)).float())


def test_fractional_sides_are_each_their_own_and_time_is_no_fraction() -> None:
    position = registry.build("position", "fractional", width=8, heads=2)
    zeroed(position, position.time.table, position.y)
    close(told(position, places(0, 0, 3), 2, 8), told(position, places(0, 9, 3), 40, 8))
    assert not torch.allclose(told(position, places(0, 0, 3), 2, 8), told(position, places(0, 0, 3), 2, 9))
    learned = registry.build("position", "learned_3d", width=8, heads=2)
    times = places([-70.0, -1.0, 0.0, 2.5, 900.0], 0, 0)
    for other in (zeroed(learned, learned.y, learned.x), zeroed(position, position.x, position.y)):
        other.time.table.data.copy_(torch.linspace(0, 1, 257)[:, None].expand(257, 8))
    close(told(position, times, 3, 3), told(learned, times, 3, 3))


# ------------------------------------------------------------------------------------------------ turned positions


def product(rope: Any, here: torch.Tensor, there: torch.Tensor, sides: tuple[float, float] = (9, 9)) -> torch.Tensor:
    """q · k of one query at `here` and one key at `there` [1, 1, 3], for each of two heads of fixed channels."""
    draw = torch.Generator().manual_seed(3)
    q, k = torch.randn(2, 1, 1, 2, 12, generator=draw)
    told = torch.tensor(sides).expand(1, 1, 2)
    return (turned(q, rope.rotary(here, told)) * turned(k, rope.rotary(there, told))).sum(-1)


@pytest.mark.parametrize("options", [{}, {"longest_side": 4}, {"time_period": 50.0, "space_period": 20.0}], ids=str)
def test_rope_knows_differences_of_place_alone(options: dict) -> None:
    rope = registry.build("position", "rope_3d", options, width=24, heads=2)
    here, there = places(2.5, 1, 4), places(-3, 2, 0)
    plain = product(rope, here, there)
    for moved in ((7, 0, 0), (0, 3, 0), (0, 0, 5), (-40, 2, 1)):
        shift = torch.tensor([[moved]]).float()
        torch.testing.assert_close(product(rope, here + shift, there + shift), plain, rtol=0, atol=1e-4)
        assert (product(rope, here + shift, there) - plain).abs().min() > 1e-3


def test_rope_is_a_product_of_complex_numbers() -> None:
    rope = registry.build("position", "rope_3d", {"time_period": 77.0, "space_period": 33.0}, width=40, heads=2)
    assert rope.pairs == (4, 3, 3)
    place, x = places([-2.5, 0.0, 31.0], [0.0, 1.0, 2.0], [5.0, 0.5, 3.0]), torch.randn(1, 3, 2, 20)
    turns = []
    for c, n, period in zip(place.double().unbind(-1), rope.pairs, (77.0, 33.0, 33.0), strict=True):
        turns.append(torch.exp(1j * c[..., None] * period ** (-torch.arange(n).double() / n)))
    expected = torch.view_as_complex(x.double().unflatten(-1, (-1, 2))) * torch.cat(turns, dim=-1)[:, :, None]
    ours = turned(x, rope.rotary(place, torch.ones(1, 3, 2)))
    close(ours, torch.view_as_real(expected).flatten(-2).float())


def test_rope_equals_that_of_diffusers() -> None:
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    rope = registry.build("position", "rope_3d", width=2 * 36, heads=2)
    place = places(torch.arange(12).float() - 3, torch.arange(12) % 4, torch.arange(12) // 4)
    theirs = [
        embeddings.get_1d_rotary_pos_embed(12, c.flatten(), theta=10000.0, use_real=True) for c in place.unbind(-1)
    ]
    cos, sin = (torch.cat(parts, dim=-1) for parts in zip(*theirs, strict=True))
    x = torch.randn(1, 12, 2, 36)
    expected = embeddings.apply_rotary_emb(x, (cos, sin), sequence_dim=1)
    close(turned(x, rope.rotary(place, torch.ones(1, 12, 2))), expected)


def test_rope_squeezes_longer_sides_onto_the_longest() -> None:
    rope = registry.build("position", "rope_3d", {"longest_side": 8}, width=24, heads=2)
    plain = registry.build("position", "rope_3d", width=24, heads=2)
    close(told(rope, places(3, 10, 6), 16, 8), told(plain, places(3, 5, 6), 16, 8))
    close(told(rope, places(3, 2, 1), 4, 8), told(plain, places(3, 2, 1), 4, 8))  # shorter ones are left as they are


@pytest.mark.parametrize("width, heads", [(26, 2), (8, 2), (24, 5)])
def test_rope_refuses_heads_that_it_cannot_split(width: int, heads: int) -> None:
    with pytest.raises(BadValue, match=f"width of {width} over {heads} heads must give an even number of at least 6"):
        registry.build("position", "rope_3d", width=width, heads=heads)
