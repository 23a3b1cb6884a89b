"""Place recognition: does the generated frame, seen as 4×4 pixels, find its own place among true frames of its world?

right_t = [pose of argmin_s ‖↓x̂_t − ↓x_s‖² shows the view of pose t]; no paper's but ours: it separates memories
where PSNR, which prefers the mean frame to a sharp wrong one, does not.
"""

from __future__ import annotations

import numpy as np
import torchmetrics
from pydantic import Field

from benchmarks import per_frame
from benchmarks.contracts import Score, Scored, Setting
from benchmarks.frame_types import NAMES, REVISIT_CONTEXT, REVISIT_GENERATED, UNSEEN, frame_types, same_view
from benchmarks.record import Metric, Part
from benchmarks.video_state import VideoValues, add_video_state, recall, remember
from zoo.component import Config, component

RIGHT, CHANCE, NEAR, NEAR_CHANCE = range(4)


def shrink(video_thwc: np.ndarray, side: int) -> np.ndarray:
    """Area means on a side × side grid: float32 [T, side · side · 3]; sizes need not divide."""
    x = video_thwc.astype(np.float32)
    for axis in (1, 2):
        edges = np.linspace(0, x.shape[axis], side + 1).round().astype(int)
        pieces = np.split(x, edges[1:-1], axis=axis)
        x = np.stack([piece.mean(axis=axis) for piece in pieces], axis=axis)
    return x.reshape(len(x), -1)


def nearest_frames(query_nd: np.ndarray, gallery_md: np.ndarray) -> np.ndarray:
    """Index of the nearest gallery row for each query row, int64 [N]."""
    cross = query_nd.astype(np.float64) @ gallery_md.T.astype(np.float64)
    return (np.square(gallery_md, dtype=np.float64).sum(1) - 2 * cross).argmin(1)


@component(cite=None, note="share of revisits whose frame retrieves its own place; chance beside it", needs={"poses"})
class PlaceRecognition(torchmetrics.Metric):
    """``place_recognition``: revisits of the context, retrieved among the true context frames; 1 is perfect.

    Parts: ``chance`` (a context frame drawn at random), ``within_8_frames`` and its chance (right when at most 8 frames
    from a frame of the right view), and ``unseen`` and ``revisit_generated`` with their chances, retrieved among all
    true frames of the episode, since the context does not hold their places.
    """

    version = "1"
    full_state_update = False

    class Config(Config):
        """What counts as the same view, and how small the frames are made."""

        side: int = Field(4, ge=2, le=32, description="frames are shrunk to side x side pixels")
        position: float = Field(0.5, gt=0, description="cells")
        yaw: float = Field(0.35, gt=0, le=3.15, description="radians")
        gap: int = Field(32, ge=1, description="frames before a return counts as a revisit")
        near: int = Field(8, ge=0, description="frames of tolerance in the second form")

    def __init__(self, config: PlaceRecognition.Config, *, setting: Setting) -> None:
        super().__init__()
        self.config, self.setting = config, setting
        add_video_state(self)

    def update(self, video: Scored) -> None:
        """Add one video with poses; columns kept: right, chance, right within frames, its chance."""
        if video.poses is None:
            raise ValueError("the metric place_recognition needs poses")
        c, start = self.config, video.context
        kinds = frame_types(video.poses, start, position=c.position, yaw=c.yaw, gap=c.gap)[start:]
        fake, real = shrink(video.fake[start:], c.side), shrink(video.real, c.side)
        view = same_view(video.poses[start:], video.poses, c.position, c.yaw)
        values = np.zeros((len(kinds), 4))
        for rows, gallery in (
            (np.flatnonzero(kinds == REVISIT_CONTEXT), start),
            (np.flatnonzero(kinds != REVISIT_CONTEXT), len(real)),
        ):
            if len(rows):
                values[rows] = self._judge(fake[rows], real[:gallery], view[rows, :gallery])
        remember(self, video, values, kinds)

    def _judge(self, fake: np.ndarray, gallery: np.ndarray, view: np.ndarray) -> np.ndarray:
        """Columns RIGHT, CHANCE, NEAR, NEAR_CHANCE for each row; view [rows, gallery] says which frames are right."""
        found = nearest_frames(fake, gallery)
        # a running count of right frames gives, at every index, whether one lies within the tolerance
        count = np.pad(view.cumsum(1), ((0, 0), (1, 0)))
        index = np.arange(view.shape[1])
        low, high = np.maximum(index - self.config.near, 0), np.minimum(index + self.config.near + 1, len(index))
        near = count[:, high] > count[:, low]
        rows = np.arange(len(fake))
        return np.stack([view[rows, found], view.mean(1), near[rows, found], near.mean(1)], 1)

    def compute(self) -> list[Score]:
        """One Score named ``place_recognition``; [] where there were no videos."""
        videos = recall(self)
        if not videos:
            return []
        means = {video.episode: self._mean(video, REVISIT_CONTEXT, RIGHT) for video in videos}
        c = self.config
        metric = Metric(
            **per_frame.part(list(means.values()), self.setting).model_dump(),
            higher_is_better=True,
            key=self.setting.key(
                "place_recognition",
                self.version,
                [video.shape for video in videos],
                **{"side": c.side, "position": c.position, "yaw": c.yaw, "gap": c.gap},
            ),
            unit="share",
            parts=self._parts(videos),
        )
        return [Score("place_recognition", metric, None, {e: v for e, v in means.items() if not np.isnan(v)})]

    def _parts(self, videos: list[VideoValues]) -> dict[str, Part]:
        def part(kind: int, column: int) -> Part:
            return per_frame.part([self._mean(video, kind, column) for video in videos], self.setting)

        parts = {"revisit_context": part(REVISIT_CONTEXT, RIGHT), "chance": part(REVISIT_CONTEXT, CHANCE)}
        near = f"within_{self.config.near}_frames"
        parts |= {near: part(REVISIT_CONTEXT, NEAR), f"chance_{near}": part(REVISIT_CONTEXT, NEAR_CHANCE)}
        for kind in (UNSEEN, REVISIT_GENERATED):
            parts |= {NAMES[kind]: part(kind, RIGHT), f"chance_{NAMES[kind]}": part(kind, CHANCE)}
        return parts

    @staticmethod
    def _mean(video: VideoValues, kind: int, column: int) -> float:
        return per_frame.mean_of(video.values[video.kinds == kind, column])
