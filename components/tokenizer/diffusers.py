"""Other people's trained autoencoders, frozen, under our contract."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from components import diffusers_folder as on_disk
from components.contracts import Autoencoded, Latent
from components.diffusers_geometry import encoded, measure
from components.video_tokenizer import State, VideoTokenizer
from zoo.component import Config, component
from zoo.errors import BadValue

CAUSAL = frozenset({"AutoencoderKLWan", "AutoencoderKLQwenImage", "AutoencoderKLMochi", "AutoencoderKLHunyuanVideo15"})
"""Video encoders whose every layer looks back only. Others normalise over time, or are causal by option."""


@component(
    cite="rombach2022ldm,kingma2014vae",
    note="any diffusers image or video autoencoder, frozen, from a folder or the hub",
    gives={"continuous"},
)
class Diffusers(VideoTokenizer):
    """A trained autoencoder (Rombach et al. 2022): z = (μ(x) − shift) · scale, what its pipeline shows a denoiser.

    Not trained here. Image autoencoders work frame by frame and stream exactly. Video autoencoders encode and decode
    in one call, so streams of them are exact but hold the whole video. Wan, Qwen-Image, Mochi, HunyuanVideo-1.5 and
    LTX encoders are causal; CogVideoX and HunyuanVideo normalise over time, so their latents see later frames. Of
    decoders, that of LTX looks ahead (unless trained not to), and so does the one of Stable Video Diffusion. A VQModel
    gives its latents before quantising, and quantises in its decoder, as latent diffusion uses it.

    The wrapped model is not in the state dict, only the hash of its content: a stage's weights stay small, and load
    beside that very model alone.
    """

    class Config(Config):
        """Any size that diffusers has; the model says its own channels and factors."""

        model: str = Field(min_length=1, description="a folder that save_pretrained wrote, or a name on the hub")
        revision: str | None = Field(None, description="branch, tag or commit on the hub")
        subfolder: str | None = Field(None, description="vae, inside the folder of a whole pipeline")
        variant: str | None = Field(None, description="fp16, where the weight files are called so")
        class_name: str | None = Field(None, description="None: what config.json says")
        dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="that the model computes in")
        slicing: bool = Field(False, description="one clip (or frame) at a time: less memory")
        tiling: bool = Field(False, description="large frames in overlapping tiles: less memory, blended seams")
        statistics: Literal["pipeline", "fitted"] = Field(
            "pipeline", description="normalise as the model's own diffusers pipeline, or by what stage 1 measures"
        )

    trainable = False
    fingerprint: Tensor
    """uint8 [32]: SHA-256 of the wrapped model's config and weights."""

    def __init__(self, config: Config) -> None:
        folder = _folder(config)
        geometry = measure(on_disk.skeleton(folder, config.class_name))
        k = geometry.temporal_factor
        super().__init__(
            channels=geometry.channels,
            spatial_factor=geometry.spatial_factor,
            temporal_factor=k,
            training_latents=1 if geometry.images else 3 if k <= 4 else 2,
        )
        self.config = config
        self.images, self.first_is_image = geometry.images, geometry.first_is_image
        model = on_disk.load(folder, config.class_name, config.variant, getattr(torch, config.dtype))
        self.model: Any = model.eval().requires_grad_(False)
        self.causal = self.images or type(model).__name__ in CAUSAL or bool(model.config.get("encoder_causal"))
        self.takes_length = "num_frames" in inspect.signature(model.decode).parameters
        for wanted, method in ((config.slicing, "enable_slicing"), (config.tiling, "enable_tiling")):
            if wanted:
                self._enable(method)
        digest = bytes.fromhex(on_disk.content_hash(folder, config.variant))
        self.register_buffer("fingerprint", torch.tensor(list(digest), dtype=torch.uint8))
        self.register_state_dict_post_hook(_leave_out_model)
        self.register_load_state_dict_pre_hook(_same_model)
        if config.statistics == "pipeline":
            self._take_statistics()

    @staticmethod
    def content(config: Config) -> dict[str, Any]:
        """What a stage's name has in place of these options: the model's hash instead of where it lies."""
        model = on_disk.content_hash(_folder(config), config.variant)
        return {"model": model, "revision": None, "subfolder": None, "variant": None}

    def _enable(self, method: str) -> None:
        try:
            getattr(self.model, method)()
        except (AttributeError, RuntimeError) as error:  # diffusers says "not implemented", which is a RuntimeError
            option = method.removeprefix("enable_")
            raise BadValue(f"tokenizer.{option}: {type(self.model).__name__} has none; leave it out.") from error

    def _take_statistics(self) -> None:
        """The mean and deviation that a pipeline of this family takes out: (z − mean) · scaling_factor / std.

        AutoencoderKL says shift_factor and scaling_factor; Wan latents_mean and latents_std; LTX keeps these two as
        buffers beside a scaling_factor; CogVideoX, Hunyuan and DC say scaling_factor alone. (CogVideoX's
        invert_scale_latents concerns an image that its pipeline appends, not the latents that it denoises.)
        """
        config, model = self.model.config, self.model
        said = {**config, **dict(model.named_buffers(recurse=False))}
        mean, std = said.get("latents_mean"), said.get("latents_std")
        if hasattr(model, "bn"):
            raise BadValue(
                f"tokenizer.statistics: the pipeline of {type(model).__name__} regroups latents before it normalises "
                "them: set tokenizer.statistics=fitted."
            )
        scale = config.get("scaling_factor")
        scale = 1.0 if scale is None else float(scale)
        shift = config.get("shift_factor")
        for target, given, default in (
            (self.statistics.mean, mean, 0.0 if shift is None else float(shift)),
            (self.statistics.std, std, 1.0),
        ):
            value = torch.as_tensor(default if given is None else given, dtype=torch.float32, device=target.device)
            if value.numel() not in (1, self.channels):
                raise BadValue(
                    f"tokenizer.statistics: {type(model).__name__} has {value.numel()} latent statistics for "
                    f"{self.channels} channels: set tokenizer.statistics=fitted."
                )
            target.copy_(value.flatten())
        self.statistics.std.div_(scale)

    # --------------------------------------------------------------------------------------------- there and back

    def analyse(self, video_bcthw: Tensor, state: State | None = None) -> Tensor:
        """The posterior's mode [B, C, F, H, W]; images frame by frame, so that a stream needs no state."""
        video = video_bcthw.to(self.model.dtype)
        if not self.images:
            return encoded(self.model, video).float()
        frames = encoded(self.model, rearrange(video, "b c t h w -> (b t) c h w"))
        return rearrange(frames, "(b t) c h w -> b c t h w", b=len(video)).float()

    def synthesise(self, raw_bcfhw: Tensor, state: State | None = None) -> Tensor:
        """To float32 video of as many frames as the latents stand for.

        CogVideoX decodes an even number of latent frames to another length than it encoded: there the last is repeated
        and what it adds is cut off.
        """
        frames = self.video_frames(raw_bcfhw.shape[2])
        made = self._decode(raw_bcfhw.to(self.model.dtype))
        if made.shape[2] != frames:
            longer = torch.cat([raw_bcfhw, raw_bcfhw[:, :, -1:]], dim=2)
            made = self._decode(longer.to(self.model.dtype))[:, :, :frames]
        return made.float()

    def _decode(self, raw_bcfhw: Tensor) -> Tensor:
        batch, frames = raw_bcfhw.shape[0], raw_bcfhw.shape[2]
        if not self.images:
            # An LTX decoder that denoises is asked for its last step: level 0, no noise.
            level = {"temb": raw_bcfhw.new_zeros(batch)} if self.model.config.get("timestep_conditioning") else {}
            return self.model.decode(raw_bcfhw, **level).sample
        length = {"num_frames": frames} if self.takes_length else {}
        made = self.model.decode(rearrange(raw_bcfhw, "b c t h w -> (b t) c h w"), **length).sample
        return rearrange(made, "(b t) c h w -> b c t h w", b=batch)

    @torch.no_grad()
    def encode_stream(self, video_chunks: Iterable[Tensor]) -> Iterator[Latent]:
        """Frame by frame where it can be; otherwise the whole video at once, handed out in the same pieces."""
        if self.images:
            yield from super().encode_stream(video_chunks)
            return
        chunks: list[Tensor] = []
        for chunk in video_chunks:
            self.check(chunk, first=not chunks)
            chunks.append(chunk)
        if not chunks:
            return
        whole, begun, ended = self.encode(torch.cat(chunks, dim=2)), 0, 0
        for chunk in chunks:
            ended += chunk.shape[2]
            upto = self.latent_frames(ended)
            yield Latent(whole.z[:, :, begun:upto], self.spatial_factor, self.temporal_factor)
            begun = upto

    @torch.no_grad()
    def decode_stream(self, z_chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Frame by frame where it can be; otherwise the whole video at once, handed out in the same pieces."""
        if self.images and not self.takes_length:
            yield from super().decode_stream(z_chunks)
            return
        chunks = list(z_chunks)
        if not chunks:
            return
        whole = self.decode(Latent(torch.cat(chunks, dim=2), self.spatial_factor, self.temporal_factor))
        ends = torch.tensor([chunk.shape[2] for chunk in chunks], device="cpu").cumsum(0).tolist()
        for begun, ended in zip([0, *ends], ends, strict=False):
            yield whole[:, :, self.video_frames(begun) : self.video_frames(ended)]

    # ------------------------------------------------------------------------------------------------- training

    @torch.no_grad()
    def _reconstruct(self, video_bcthw: Tensor) -> Tensor:
        return self.synthesise(self.analyse(video_bcthw))

    def autoencode(self, video_bcthw: Tensor, step: int) -> Autoencoded:
        """The error as it is, which may be sent backward and changes nothing: the model is frozen."""
        self.check(video_bcthw)
        made = self._reconstruct(video_bcthw)
        return Autoencoded(made, video_bcthw, {"reconstruction": F.mse_loss(made, video_bcthw).requires_grad_()})

    def fit_statistics(self, videos: Iterable[Tensor]) -> None:
        """Nothing to measure where the model brings its own."""
        if self.config.statistics == "fitted":
            super().fit_statistics(videos)

    def train(self, mode: bool = True) -> Diffusers:
        """The wrapped model stays as it was trained to be used."""
        super().train(mode)
        self.model.eval()
        return self


def _folder(config: Any) -> Any:
    return on_disk.find(config.model, revision=config.revision, subfolder=config.subfolder, variant=config.variant)


def _leave_out_model(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for key in [key for key in state if key.startswith(f"{prefix}model.")]:
        del state[key]


def _same_model(module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """The model's own tensors stand in for what the state dict leaves out, if it was saved beside the same model."""
    saved = state.get(f"{prefix}fingerprint")
    if saved is not None and not torch.equal(saved.cpu(), module.fingerprint.cpu()):
        raise BadValue(
            f"{module.config.model} is another autoencoder than the one this run was made with: "
            "set tokenizer.model to that one, or make the run anew."
        )
    state.update({f"{prefix}model.{key}": value for key, value in module.model.state_dict().items()})
