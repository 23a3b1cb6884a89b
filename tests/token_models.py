"""Tiny token networks, batches and engines with random weights: what the tests of token objectives share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from components.contracts import Condition, Window
from components.token_network import TokenNetwork
from zoo import compose, registry
from zoo.recipe import Recipe, resolve
from zoo.sampling import Engine, Request

FACTORS = (3, 4)
SIZE = (3, 2)
FRAMES = 10
ATTENTIONS = [
    "full",
    "space_time_causal",
    "{name: space_time_causal, history: 1}",
    "space_time",
    "{name: windowed, rows: 2, columns: 2}",
]
OBJECTIVES = ["maskgit", "autoregressive_tokens"]


def recipe(objective: str, *options: str) -> Recipe:
    """The quickstart on tokens, tiny."""
    arguments = ["recipe=quickstart", "rollout=autoregressive", f"objective={objective}", *options]
    keys = {argument.partition("=")[0] for argument in options}
    small = ["backbone.width=16", "backbone.depth=2", "backbone.heads=2"]
    arguments = [argument for argument in arguments[:3] if argument.partition("=")[0] not in keys] + list(options)
    (found,) = resolve([*arguments, *(() if "backbone" in keys else small)], sweep=False)
    return found


def randomised(network: Any) -> Any:
    """Zero-initialised modulations and heads would hide errors."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return network.eval()


def network(
    objective: str = "autoregressive_tokens", *options: str, factors: tuple[int, ...] = FACTORS
) -> TokenNetwork:
    """Pose bias, actions and all, as the quickstart has them."""
    torch.manual_seed(0)
    sizes = compose.Sizes(channels=len(factors), action_dim=2, factors=factors)
    return randomised(compose.build_network(recipe(objective, *options), sizes, 0))


def tokens(clips: int, frames: int, seed: int = 1, factors: tuple[int, ...] = FACTORS) -> Tensor:
    """Digits [B, G, F, H, W]."""
    draw = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(n, (clips, frames, *SIZE), generator=draw) for n in factors], 1).float()


def batch(observed: list[list[int]], factors: tuple[int, ...] = FACTORS) -> tuple[Tensor, Window, Condition]:
    """Digits, window and condition; `observed` holds 0/1 per clip and frame."""
    draw = torch.Generator().manual_seed(2)
    flags = torch.tensor(observed, dtype=torch.bool)
    clips, frames = flags.shape
    window = Window(torch.arange(frames).expand(clips, frames).float() - 1, flags, torch.ones_like(flags))
    condition = Condition(
        level=(~flags).float(),
        actions=torch.randn(clips, frames, 2, generator=draw),
        poses=torch.rand(clips, frames, 4, generator=draw),
        origin=torch.rand(clips, 4, generator=draw),
        camera=torch.ones(clips, dtype=torch.bool),
    )
    return tokens(clips, frames, factors=factors), window, condition


def engine(objective: str, *options: str, net: TokenNetwork | None = None, **changes: Any) -> Engine:
    found = recipe(objective, *options)
    text = compose.build("text_encoder", found.part("text_encoder"))
    made = Engine(
        network=net or network(objective, *options),
        objective=compose.build("objective", found.part("objective")),
        solver=compose.build("solver", found.part("solver")),
        guidance=compose.build("guidance", found.part("guidance")),
        rollout=compose.build("rollout", found.part("rollout")),
        text_encoder=text,
        window=6,
        step=3,
    )
    return replace(made, **changes)


def request(number: int, given: int = 3, frames: int = FRAMES) -> Request:
    draw = torch.Generator().manual_seed(number)
    signal = lambda size: torch.randn(frames, size, generator=draw)  # noqa: E731
    return Request(f"episode {number}", tokens(1, given, seed=number)[0], frames, signal(2), signal(4))


ROLLOUTS = [name for name in registry.names("rollout") if name != "rolling"]
"""`rolling` is refused."""
CHANGES: dict[str, dict[str, Any]] = {"full": {"window": FRAMES, "step": FRAMES}}
