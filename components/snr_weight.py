"""Loss weights that treat a level by its signal-to-noise ratio, the same in effect whatever the network predicts."""

from __future__ import annotations

import torch
from torch import Tensor


def min_snr_weight(alpha: Tensor, sigma: Tensor, gain: Tensor, gamma: float | None) -> Tensor:
    """Min-SNR-γ (Hang et al. 2023): weight of a prediction's squared error so that that of ẑ has min(SNR, γ).

    SNR = α²/σ². Where ẑ − z = ± gain · (error of the prediction), the weight is min(SNR, γ) · gain²:
    ε: gain σ/α, min(SNR, γ)/SNR. v: gain σ, min(SNR, γ)/(SNR + 1) as σ² = 1/(SNR + 1). ε − z of flow matching: gain t,
    min(SNR, γ) t². All of the level's shape; 1 everywhere where `gamma` is None.
    """
    if gamma is None:
        return torch.ones_like(alpha)
    return (alpha / sigma).square().clamp(max=gamma) * gain.square()
