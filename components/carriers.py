"""What travels between the parts: small frozen dataclasses, one for every arrow of the picture in contracts.py.

Letters in shapes: B clips, R rows of a packed batch, L tokens a row, D width, T video frames, F latent frames,
C channels, H W height and width, K heads, A action size. Torch is imported for type checkers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class Clip:
    """A piece of video and all that is known of it. Arrays are numpy; nothing here is normalised."""

    frames: np.ndarray
    """uint8 [T, H, W, 3], RGB."""
    times: np.ndarray
    """float64 [T], seconds from the start of the source."""
    fps: float
    actions: np.ndarray | None = None
    """float32 [T-1, A]; actions[t] leads from frame t to frame t+1."""
    poses: np.ndarray | None = None
    """float32 [T, 4]: x, y, z in cells, yaw in radians; recorded by the world, never integrated."""
    caption: str | None = None
    episode: str = ""
    """Unique in its data set; keys the sampling noise."""
    tour: str = ""
    """Kind of camera path, such as ``loop`` or ``wobbled_loop``; metrics tell them apart. Empty where unknown."""
    source: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Described:
    """What a captioner says of a clip."""

    caption: str
    confidence: float
    """In [0, 1]: mean probability that it gave its words; 1 where the caption is known."""


@dataclass(frozen=True)
class Latent:
    """What a tokenizer makes of a video: z normalised to zero mean and unit variance per channel."""

    z: Tensor
    """float [B, C, F, H, W]."""
    spatial_factor: int
    temporal_factor: int
    indices: Tensor | None = None
    """Discrete tokenizers only: long [B, F, H, W] into the codebook."""
    unquantised: Tensor | None = None
    """Discrete tokenizers only: z as it would be were nothing rounded to a code; decodes as z does."""


@dataclass(frozen=True)
class Quantised:
    """What a quantiser makes of raw latents [B, C, F, H, W]."""

    z: Tensor
    """float [B, C, F, H, W]: the chosen codes; in training gradients pass straight through to what was quantised."""
    indices: Tensor
    """long [B, F, H, W] into the codebook."""
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    """Weighted loss terms, differentiable scalars; empty outside training."""
    figures: Mapping[str, Tensor] = field(default_factory=dict)
    """Scalars to log, without gradient."""


@dataclass(frozen=True)
class Autoencoded:
    """One training pass of a tokenizer: what it made of a video, and what it minimises by itself."""

    video: Tensor
    """float [B, 3, T', H, W]: the reconstruction; T' < T where only some frames are decoded in training."""
    target: Tensor
    """float [B, 3, T', H, W]: what `video` should be."""
    terms: Mapping[str, Tensor]
    """Weighted loss terms, differentiable scalars, ``reconstruction`` among them; their sum is its own loss.

    Terms of a perceptual network or a discriminator are added by the stage that trains."""
    figures: Mapping[str, Tensor] = field(default_factory=dict)
    """Scalars to log, without gradient."""
    indices: Tensor | None = None
    """Discrete tokenizers only: long [B, F, H, W]."""


@dataclass(frozen=True)
class Window:
    """The frames one network call sees: slot f of a clip's window is one latent frame."""

    times: Tensor
    """float [B, F]: latent-frame index minus that of the window's first latent (unobserved) frame; any spacing."""
    observed: Tensor
    """bool [B, F]: True where the frame is given, False where it is to be made."""
    valid: Tensor
    """bool [B, F]: False in the filler slots of clips shorter than F."""
    raster: Tensor | None = None
    """bool [B, F]: True where a frame is predicted token by token (components/token_streams.py); None: none is."""
    columns: tuple[Tensor, ...] | None = None
    """Training alone: per clip bool [H, W] in patches, False where a column through time is dropped; None: none is."""


@dataclass(frozen=True)
class Condition:
    """What the network is told besides the latents; None where the recipe has no such signal."""

    level: Tensor
    """float [B, F]: noise level of each frame; observed frames carry 0, or the fixed stabilisation level."""
    text: Tensor | None = None
    """float [B, S, E]: text tokens."""
    text_mask: Tensor | None = None
    """bool [B, S]: True at real tokens; all False where the prompt is dropped (unconditional)."""
    actions: Tensor | None = None
    """float [B, F, A]: the action that led to the frame (zeros for frame 0 of the video)."""
    poses: Tensor | None = None
    """float [B, F, 4]."""
    origin: Tensor | None = None
    """float [B, 4]: pose of frame 0 of the video, to which absolute poses are made relative."""
    camera: Tensor | None = None
    """bool [B]: False where actions and poses are dropped (camera-free); None means all True."""


@dataclass(frozen=True)
class Tokens:
    """Rows of patches, one type for padding, bucket and NaViT.

    A padded batch is one clip per row; a packed batch is many. A clip never spans rows, and its tokens lie in
    (F, H, W) order. ``clip`` is unique in the batch.
    """

    x: Tensor
    """float [R, L, D]."""
    place: Tensor
    """float [R, L, 3]: time (see Window.times), y, x in patches."""
    sides: Tensor
    """float [R, L, 2]: height and width of the token's clip in patches, whatever was dropped of it; 1 in filler."""
    clip: Tensor
    """long [R, L]: index of the clip in the batch; -1 marks filler."""
    frame: Tensor
    """long [R, L]: slot of the frame in its clip's Window; 0 in filler."""
    observed: Tensor
    """bool [R, L]."""
    grids: tuple[tuple[int, int, int], ...]
    """(F, H, W) in patches, of every clip."""
    starts: tuple[tuple[int, int], ...]
    """(row, first column) of every clip: enough to unpack exactly."""

    @property
    def regular(self) -> bool:
        """True when every clip has the same grid and its own row without filler, so plain reshapes apply."""
        f, h, w = self.grids[0]
        return (
            all(grid == (f, h, w) for grid in self.grids)
            and tuple(self.x.shape[:2]) == (len(self.grids), f * h * w)
            and all(start == (i, 0) for i, start in enumerate(self.starts))
        )


@dataclass(frozen=True)
class Memory:
    """Keys and values of observed frames, the same at every denoising step; one per guidance branch and plan step."""

    tokens: Tokens
    """Of the observed frames alone (x may be empty of meaning)."""
    window: Window
    condition: Condition
    layers: tuple[Mapping[str, tuple[Tensor, Tensor]], ...]
    """Per block: sublayer name → keys and values [R, Lo, K, D/K], for the sublayers in which frames meet."""


@dataclass(frozen=True)
class Step:
    """One step of a rollout: frame indices only, ascending, no duplicates. Looks at ``observed``, makes ``latent``."""

    observed: tuple[int, ...]
    latent: tuple[int, ...]
    levels: tuple[float, ...] | None = None
    """None: the step makes its latent frames from noise to clean, in as many network calls as the solver has steps.

    Otherwise the noise level in [0, 1) that one network call takes each latent frame down to, from the level where the
    step before left it (1 at first); a frame is finished when its level is 0, and is visited until then (rolling).
    """


@dataclass(frozen=True)
class Layout:
    """Which frames a task takes of those that are given, and where it lays them; counts are video frames."""

    first: int = 0
    """So many stand at the start of the video."""
    last: int = 0
    """So many stand at its end."""
    copies: int = 0
    """So many of the first stand once more after its end, to be looked at and cut off: the video flows into them."""


@dataclass(frozen=True)
class VideoInfo:
    """What a reader knows of a file before decoding all of it."""

    frames: int
    """As the container claims; the decodable length may be smaller."""
    height: int
    width: int
    fps: float


@dataclass(frozen=True)
class DataReport:
    """What a data set did with its files; goes into the log and the record."""

    episodes: Mapping[str, int]
    """Per split."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """File name → reason."""
