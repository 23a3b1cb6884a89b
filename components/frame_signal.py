"""The condition vector of each frame: noise level, observed flag, action, pose and prompt, embedded and summed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange, reduce
from torch import nn

from components.contracts import Condition, Window
from components.sinusoid import sinusoid

if TYPE_CHECKING:
    from torch import Tensor

    from components.contracts import PoseEncoding

LEVEL_FEATURES = 256


class FrameSignal(nn.Module):
    """c [B, F, D] = level + observed + (action + pose, or a learned null where the camera is dropped) + text.

    Frames are embedded one by one, so an observed frame's vector never depends on the latent frames' noise level.
    """

    def __init__(self, *, width: int, action_dim: int, text_width: int) -> None:
        super().__init__()
        self.level = nn.Sequential(nn.Linear(LEVEL_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        self.observed = nn.Parameter(0.02 * torch.randn(width))
        self.no_camera = nn.Parameter(0.02 * torch.randn(width))
        self.action = _embedder(action_dim, width) if action_dim else None
        self.text = nn.Linear(text_width, width) if text_width else None
        if text_width:
            self.no_text = nn.Parameter(0.02 * torch.randn(width))

    def forward(self, window: Window, condition: Condition, pose_encoding: PoseEncoding) -> Tensor:
        """The vectors [B, F, D] of the window's frames. Signals that the batch lacks become their null."""
        features = sinusoid(1000.0 * condition.level.float(), LEVEL_FEATURES)
        signal = self.level(features.to(self.observed.dtype))
        signal = signal + window.observed[..., None].to(signal.dtype) * self.observed
        signal = signal + self._camera(condition, pose_encoding).to(signal.dtype)
        if self.text is not None:
            signal = signal + rearrange(self._text(condition, self.text, self.no_text), "b d -> b 1 d")
        return signal

    def _camera(self, condition: Condition, pose_encoding: PoseEncoding) -> Tensor:
        """Action plus pose [B, F, D]; the learned null where the camera is dropped or actions are unknown."""
        null = self.no_camera.expand(*condition.level.shape, -1)
        told = torch.zeros_like(null)
        if self.action is not None:
            actions = condition.actions
            told = null if actions is None else self.action(actions.to(self.observed.dtype)).to(null.dtype)
        if condition.poses is not None:
            pose = pose_encoding.embed(condition.poses, condition.origin)
            told = told if pose is None else told + pose.to(null.dtype)
        keep = condition.camera
        if keep is None:
            keep = torch.ones(null.shape[0], dtype=torch.bool, device=null.device)
        # Always selected, never skipped, so that every weight takes part in every step on every device.
        return torch.where(rearrange(keep, "b -> b 1 1"), told, null)

    def _text(self, condition: Condition, project: nn.Module, no_text: Tensor) -> Tensor:
        """The masked mean of the text tokens, projected: [B, D]; the learned null where no token is real."""
        null = no_text.expand(condition.level.shape[0], -1)
        if condition.text is None or condition.text.shape[1] == 0:
            return null
        tokens, mask = condition.text, condition.text_mask
        if mask is None:
            mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        real = mask[..., None].to(tokens.dtype)
        mean = reduce(tokens * real, "b s e -> b e", "sum") / reduce(real, "b s 1 -> b 1", "sum").clamp(min=1)
        said = project(mean.to(null.dtype)).to(null.dtype)
        return torch.where(mask.any(dim=1, keepdim=True), said, null)


def _embedder(size: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width))
