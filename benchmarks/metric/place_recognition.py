"""Place recognition: does the generated frame, seen as 4×4 pixels, find its own place among true frames of its world?

right_t = [pose of argmin_s ‖↓x̂_t − ↓x_s‖² shows the view of pose t]; no paper's but ours: it separates memories
where PSNR, which prefers the mean frame to a sharp wrong one, does not.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torchmetrics
from pydantic import Field

from benchmarks import per_frame
from benchmarks.contracts import Score, Scored, Setting
from benchmarks.frame_error import shrink
from benchmarks.frame_types import NAMES, REVISIT_CONTEXT, REVISIT_GENERATED, UNSEEN, frame_types, same_view
from benchmarks.record import Metric, Part
from benchmarks.revisits import ages, by_gap
from benchmarks.selection import Selection
from benchmarks.video_state import VideoValues, add_video_state, recall, remember
from zoo.component import component

RIGHT, CHANCE, NEAR, NEAR_CHANCE, AGE = range(5)


def nearest_frames(query_nd: np.ndarray, gallery_md: np.ndarray) -> np.ndarray:
    """Index of the nearest gallery row for each query row, int64 [N]."""
    cross = query_nd.astype(np.float64) @ gallery_md.T.astype(np.float64)
    return (np.square(gallery_md, dtype=np.float64).sum(1) - 2 * cross).argmin(1)


@component(cite=None, note="share of revisits whose frame retrieves its own place; chance beside it", needs={"poses"})
class PlaceRecognition(torchmetrics.Metric):
    """``place_recognition``: revisits of the context, retrieved among the true context frames; 1 is perfect.

    Parts: ``chance`` (a context frame drawn at random), ``within_8_frames`` and its chance (right when at most 8 frames
    from a frame of the right view), and ``unseen`` and ``revisit_generated`` with their chances, retrieved among all
    true frames of the episode, since the context does not hold their places; also by gap and by tour. With ``types``
    or ``tours`` the figure is of those frames alone.
    """

    version = "1"
    full_state_update = False

    class Config(Selection):
        """What counts as the same view, how small the frames are made, and of which frames the figure is."""

        gallery: Literal["context", "episode"] = Field(
            "context", description="retrieve revisits of the context among its frames, or among all true frames"
        )
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
        """Add one video with poses; columns kept: right, chance, right within frames, its chance, age of the view."""
        if video.poses is None:
            raise ValueError("the metric place_recognition needs poses")
        c, start = self.config, video.context
        kinds = frame_types(video.poses, start, position=c.position, yaw=c.yaw, gap=c.gap)[start:]
        if not c.keeps(video) or not c.chosen(kinds, len(kinds)).any():
            return
        fake, real = shrink(video.fake[start:], c.side), shrink(video.real, c.side)
        view = same_view(video.poses[start:], video.poses, c.position, c.yaw)
        values = np.zeros((len(kinds), 5))
        values[:, AGE] = ages(video.poses, start, c.position, c.yaw, c.gap)
        for rows, gallery in (
            (np.flatnonzero(kinds == REVISIT_CONTEXT), start if c.gallery == "context" else len(real)),
            (np.flatnonzero(kinds != REVISIT_CONTEXT), len(real)),
        ):
            if len(rows):
                values[rows, :AGE] = self._judge(fake[rows], real[:gallery], view[rows, :gallery])
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
        """One Score named ``place_recognition`` (and the label); [] where there were no videos."""
        videos = recall(self)
        if not videos:
            return []
        c = self.config
        name, chosen = c.named("place_recognition"), self._chosen
        means = {video.episode: self._mean(video, chosen, RIGHT) for video in videos}
        metric = Metric(
            **per_frame.part(list(means.values()), self.setting).model_dump(),
            higher_is_better=True,
            key=self.setting.key(
                name,
                self.version,
                [video.shape for video in videos],
                **{"side": c.side, "position": c.position, "yaw": c.yaw, "gap": c.gap},
                **({} if c.gallery == "context" else {"gallery": c.gallery}),
                **c.facts(),
            ),
            unit="share",
            parts=self._parts(videos),
        )
        return [Score(name, metric, None, {e: v for e, v in means.items() if not np.isnan(v)})]

    @property
    def _chosen(self) -> tuple[int, ...]:
        """Types of the frames the figure is of."""
        types = self.config.types or (NAMES[REVISIT_CONTEXT],)
        return tuple(kind for kind, name in NAMES.items() if name in types)

    def _parts(self, videos: list[VideoValues]) -> dict[str, Part]:
        def part(kinds: tuple[int, ...], column: int) -> Part:
            return per_frame.part([self._mean(video, kinds, column) for video in videos], self.setting)

        chosen, near = self._chosen, f"within_{self.config.near}_frames"
        parts = {"revisit_context": part((REVISIT_CONTEXT,), RIGHT)} if not self.config.types else {}
        parts["chance"] = part(chosen, CHANCE)
        parts |= {near: part(chosen, NEAR), f"chance_{near}": part(chosen, NEAR_CHANCE)}
        for kind in (UNSEEN, REVISIT_GENERATED) if not self.config.types else ():
            parts |= {NAMES[kind]: part((kind,), RIGHT), f"chance_{NAMES[kind]}": part((kind,), CHANCE)}
        for prefix, column in (("", RIGHT), ("chance_", CHANCE)):
            tours = per_frame.tour_parts(videos, [self._mean(v, chosen, column) for v in videos], self.setting)
            found = by_gap(videos, AGE, column, self.setting) if REVISIT_CONTEXT in chosen else {}
            parts |= {f"{prefix}{name}": figure for name, figure in (found | tours).items()}
        return parts

    @staticmethod
    def _mean(video: VideoValues, kinds: tuple[int, ...], column: int) -> float:
        return per_frame.mean_of(video.values[np.isin(np.asarray(video.kinds), kinds), column])
