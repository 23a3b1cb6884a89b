"""Positions and camera poses: facts that hold whatever the network around them."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from components.relative_pose import seen_from
from zoo import registry

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


@pytest.mark.parametrize("name", registry.names("position"))
@pytest.mark.parametrize("width", [24, 26, 32])
def test_positions_are_continuous_and_have_no_outside(name: str, width: int) -> None:
    position = registry.build("position", name, width=width, heads=2)
    times = torch.linspace(-40, 40, 161)
    place = torch.stack([times, torch.full_like(times, 1.0), torch.full_like(times, 2.0)], dim=-1)[None]
    embedded = position.embed(place, torch.full((1, 161, 2), 4.0))
    assert embedded.shape == (1, 161, width)
    gaps = (embedded[:, 2:] - embedded[:, :-2]).norm(dim=-1)  # whole frames apart
    assert gaps.min() > 1e-3, "neighbouring frames differ"
    assert gaps.max() < 2.5 * width**0.5 * 0.5
    far = torch.tensor([[[5000.0, 300.0, 1e4], [-5000.0, 0.0, 0.0], [1e6, 65.0, 64.0]]])
    assert torch.isfinite(position.embed(far, torch.full((1, 3, 2), 2e4))).all()


def test_learned_positions_at_a_knot_and_halfway() -> None:
    position = registry.build("position", "learned_3d", {"max_side": 4}, width=8, heads=2)
    torch.nn.init.normal_(position.y)
    torch.nn.init.zeros_(position.time)
    torch.nn.init.zeros_(position.x)
    at = lambda y: position.embed(torch.tensor([[[0.0, y, 0.0]]]), torch.ones(1, 1, 2))[0, 0]  # noqa: E731
    close(at(3.0), position.y[3])
    close(at(2.25), 0.75 * position.y[2] + 0.25 * position.y[3])
    close(at(8.0), position.y[6])  # 2M − M²/8, M = 4
    close(at(1e9), position.y[8])
