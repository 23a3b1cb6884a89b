"""Leaderboard rows as records: what a row says of its recipe, its cost and its videos, and the files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import record as records
from components.contracts import Clip
from zoo import registry

if TYPE_CHECKING:
    from benchmarks.contracts import Results
    from zoo.evaluation import Evaluation

SHOWN = 3
"""Episodes whose videos go beside a record."""
SHOWN_HEIGHT = 128
"""Pixels; small frames are enlarged by a whole number to about this, so that a person sees them."""


def model_row(judged: Evaluation, results: Results) -> records.Record:
    """The record of a trained recipe; its artifacts are still to be written."""
    recipe, pipeline = judged.recipe, judged.pipeline
    parts = recipe.parts
    cites = [registry.card(axis, part.name).cite for axis, part in parts.items()]
    keys = [key.strip() for cite in cites if cite for key in cite.split(",")]
    stages = (pipeline.tokenizer_dir, pipeline.generator_dir, judged.sample_dir)
    return records.Record(
        name=recipe.name,
        label=judged.label,
        group=judged.group,
        suite=judged.suite.reference(),
        recipe=recipe.to_dict(),
        recipe_hash=recipe.hash(),
        stages={folder.stage: folder.name for folder in stages},
        stale=pipeline.stale,
        components={axis: part.name for axis, part in parts.items()},
        versions=results.versions,
        citations=sorted({*keys, *results.citations}),
        metrics=results.metrics,
        curves=results.curves,
        per_video=results.per_video,
        dataset=judged.dataset_reference,
        seeds={
            "tokenizer": recipe.train.tokenizer.seed,
            "generator": pipeline.seed,
            "sample": recipe.sample.seed,
            "suite": judged.suite.seed,
        },
        cost=_cost(judged),
        environment=records.environment(),
        reader=pipeline.reader_version,
    )


def _cost(judged: Evaluation) -> records.Cost:
    pipeline, facts = judged.pipeline, judged.sample_dir.facts()
    trained = (pipeline.tokenizer_dir.facts(), pipeline.generator_dir.facts())
    memory = [stage.get("peak_memory_bytes") or 0 for stage in trained]
    return records.Cost(
        wall_seconds={**pipeline.seconds, **judged.seconds},
        trained_seconds={
            "tokenizer": trained[0].get("seconds", 0.0),
            "generator": trained[1].get("seconds", 0.0),
            "sample": facts.get("seconds", 0.0),
        },
        seconds_per_frame=facts.get("seconds_per_frame"),
        peak_memory_bytes=max(memory) or None,
        parameters={"tokenizer": trained[0].get("parameters", 0), "generator": trained[1].get("parameters", 0)},
        flops=_flops(judged, facts.get("network_calls_per_frame", 0.0)),
        network_calls_per_frame=facts.get("network_calls_per_frame"),
    )


def _flops(judged: Evaluation, calls_per_frame: float) -> dict[str, float]:
    """By PyTorch's counter: training of each stage in all, and one generated latent frame."""
    from zoo.cost import generator_cost, tokenizer_cost

    tokenizer, generator = tokenizer_cost(judged.recipe), generator_cost(judged.recipe)
    return {
        "tokenizer": tokenizer["flops_per_step"] * tokenizer["steps"],
        "generator": generator["flops_per_step"] * generator["steps"],
        "generated_frame": generator["flops_per_call"] * calls_per_frame,
    }


def control_row(judged: Evaluation, row: Any) -> records.Record:
    """The record of a floor or ceiling, which no recipe made."""
    return records.Record(
        name=row.name,
        kind="control",
        role=row.role,
        group=judged.group,
        suite=judged.suite.reference(),
        stages={"tokenizer": judged.pipeline.tokenizer_dir.name},
        versions=row.results.versions,
        citations=list(row.results.citations),
        metrics=row.results.metrics,
        curves=row.results.curves,
        per_video=row.results.per_video,
        dataset=judged.dataset_reference,
        environment=records.environment(),
    )


def write_row(
    record: records.Record, folder: Path, clips: Sequence[Clip], videos: Sequence[np.ndarray], context: int
) -> Path:
    """Videos and strips first, then the record that names them."""
    from components.video_file import write_contact_sheet, write_mp4

    media = folder / "media" / records.file_name(record).removesuffix(".json")
    shown: dict[str, str] = {}
    for number, (clip, video) in enumerate(zip(clips, videos, strict=False)):
        scale = max(1, round(SHOWN_HEIGHT / video.shape[1]))
        for role, frames in (("truth", clip.frames), ("video", video)):
            path = media / f"{role}-{number}.mp4"
            write_mp4(path, np.asarray(frames), clip.fps, scale=scale)
            shown[f"{role}/{clip.episode}"] = str(path.relative_to(folder))
        sheet = media / f"strip-{number}.png"
        after = slice(context, None)
        write_contact_sheet(sheet, [clip.frames[after], np.asarray(video)[after]], columns=10, scale=max(1, scale // 2))
        shown[f"strip/{clip.episode}"] = str(sheet.relative_to(folder))
    return records.write(record.model_copy(update={"artifacts": shown}), folder)
