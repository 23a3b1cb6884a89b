"""What a tokenizer says of the networks that judge it in training: perceptual and adversarial terms."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from zoo.component import Config


class CriticOptions(Config):
    """Weights beside the tokenizer's own terms. A tokenizer's Config inherits these and changes the defaults."""

    perceptual: float = Field(0.0, ge=0.0, le=100.0, description="weight of the perceptual distance; 0 is none")
    perceptual_network: Literal["lite0", "lpips"] = Field(
        "lite0", description="what the distance looks through; lpips needs the weights of VGG-16 on this machine"
    )
    perceptual_frames: int = Field(
        2, ge=1, le=1024, description="frames of each clip that it looks at, drawn anew every step; others cost nothing"
    )
    perceptual_size: int = Field(64, ge=32, le=512, description="short side in pixels the network sees")
    adversarial: float = Field(0.0, ge=0.0, le=100.0, description="weight of the hinge GAN term; 0 is no discriminator")
    adversarial_start: float = Field(
        0.5, ge=0.0, le=1.0, description="share of training after which the discriminator has a say"
    )
    adaptive: bool = Field(
        True, description="scale the GAN term to the gradient of the other terms at the last layer (VQ-GAN)"
    )
    regulariser: Literal["none", "r1", "lecam"] = Field("none", description="of the discriminator")
    regulariser_weight: float = Field(0.001, ge=0.0, le=1000.0, description="of the regulariser")
    critic_width: int = Field(32, ge=4, le=1024, description="channels of the discriminator's first level")
    critic_depth: int = Field(3, ge=1, le=6, description="levels of the discriminator, each of half the side")
