"""Leaderboard rows as records: what a row says of its recipe, its cost and its videos, and the files beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import record as records
from benchmarks.frame_types import CONTEXT, NAMES, frame_types
from components.contracts import Clip
from zoo import registry
from zoo.caption_record import caption_metrics
from zoo.store import atomic_file

if TYPE_CHECKING:
    from benchmarks.contracts import Results
    from zoo.evaluation import Evaluation
    from zoo.recipe import Part
    from zoo.store import StageDir

SHOWN = 3
"""Episodes whose videos go beside a record, where the clips are of one kind of tour."""
SHOWN_HEIGHT = 128
"""Pixels; small frames are enlarged by a whole number to about this, so that a person sees them."""


def model_row(judged: Evaluation, results: Results) -> records.Record:
    """The record of a trained recipe; its artifacts are still to be written."""
    recipe, pipeline = judged.recipe, judged.pipeline
    return _row(
        judged,
        replace(
            results,
            curves=results.curves | _seconds_by_frame(judged.sample_dir.facts()),
            metrics=results.metrics | caption_metrics(pipeline),
        ),
        parts=recipe.parts,
        stages=(*pipeline.captioning.folders, pipeline.tokenizer_dir, pipeline.generator_dir, judged.sample_dir),
        seeds={
            "tokenizer": recipe.train.tokenizer.seed,
            "generator": pipeline.seed,
            "sample": recipe.sample.seed,
            "suite": judged.suite.seed,
        },
        cost=_cost(judged),
    )


def tokenizer_row(judged: Evaluation, results: Results) -> records.Record:
    """The record of a tokenizer that was judged alone; its artifacts are still to be written."""
    from zoo import compose

    recipe = judged.recipe
    parts = {axis: recipe.part(axis) for axis in ("dataset", "tokenizer")}
    quantizer = compose.quantizer_part(parts["tokenizer"])
    return _row(
        judged,
        results,
        parts=parts if quantizer is None else {**parts, "quantizer": quantizer},
        stages=(judged.pipeline.tokenizer_dir, judged.sample_dir),
        seeds={"tokenizer": recipe.train.tokenizer.seed, "suite": judged.suite.seed},
        cost=_tokenizer_cost(judged),
    )


def packing_row(judged: Evaluation, results: Results, cost: records.Cost) -> records.Record:
    """The record of an untrained network on packed rows: it has no videos and no trained stage."""
    axes = ("packing", "position", "pose_encoding", "attention", "conditioning", "text_encoder", "backbone")
    return _row(
        judged,
        results,
        parts={axis: judged.recipe.part(axis) for axis in axes},
        stages=(judged.sample_dir,),
        seeds={"generator": judged.pipeline.seed, "suite": judged.suite.seed},
        cost=cost,
    )


def _row(
    judged: Evaluation,
    results: Results,
    *,
    parts: Mapping[str, Part],
    stages: Sequence[StageDir],
    seeds: dict[str, int],
    cost: records.Cost,
) -> records.Record:
    """What the records of both kinds of row say alike; `parts` are those that the row rests on and cites."""
    recipe, pipeline = judged.recipe, judged.pipeline
    cites = [registry.card(axis, part.name).cite for axis, part in parts.items()]
    keys = [key.strip() for cite in cites if cite for key in cite.split(",")]
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
        seeds=seeds,
        cost=cost,
        environment=records.environment(),
        reader=pipeline.reader_version,
    )


def _tokenizer_cost(judged: Evaluation) -> records.Cost:
    """Seconds a frame are those of the way there and back."""
    from zoo.cost import tokenizer_cost

    pipeline, facts = judged.pipeline, judged.sample_dir.facts()
    trained, counted = pipeline.tokenizer_dir.facts(), tokenizer_cost(judged.recipe)
    return records.Cost(
        wall_seconds={**pipeline.seconds, **judged.seconds},
        trained_seconds={"tokenizer": trained.get("seconds", 0.0)},
        seconds_per_frame=facts.get("seconds_per_frame"),
        peak_memory_bytes=trained.get("peak_memory_bytes") or None,
        parameters={"tokenizer": counted["parameters"]},
        flops={"tokenizer": counted["flops_per_step"] * counted["steps"]},
    )


def _cost(judged: Evaluation) -> records.Cost:
    pipeline, facts = judged.pipeline, judged.sample_dir.facts()
    trained = (pipeline.tokenizer_dir.facts(), pipeline.generator_dir.facts())
    captioners = {folder.stage: folder.facts() for folder in pipeline.captioning.folders}
    memory = [stage.get("peak_memory_bytes") or 0 for stage in trained]
    return records.Cost(
        wall_seconds={**pipeline.seconds, **judged.seconds},
        trained_seconds={
            **{name: facts.get("seconds", 0.0) for name, facts in captioners.items()},
            "tokenizer": trained[0].get("seconds", 0.0),
            "generator": trained[1].get("seconds", 0.0),
            "sample": facts.get("seconds", 0.0),
        },
        seconds_per_frame=facts.get("seconds_per_frame"),
        peak_memory_bytes=max(memory) or None,
        parameters={
            **{name: facts.get("parameters", 0) for name, facts in captioners.items()},
            "tokenizer": trained[0].get("parameters", 0),
            "generator": trained[1].get("parameters", 0),
        },
        flops=_flops(judged),
        network_calls_per_frame=facts.get("network_calls_per_frame"),
    )


def _seconds_by_frame(facts: dict[str, Any]) -> dict[str, records.Curve]:
    """Wall seconds a frame, by how many frames of a video were made before it, in the order of production."""
    seconds, frames = facts.get("seconds_by_step", []), facts.get("frames_by_step", [])
    rounds = [(s, f) for s, f in zip(seconds, frames, strict=False) if f]
    if len(rounds) < 2:
        return {}
    made = np.cumsum([0, *(f for _, f in rounds)])[:-1] / max(1, facts.get("videos", 1))
    curve = records.Curve(t=made.tolist(), mean=[s / f for s, f in rounds], unit="s")
    return {"seconds_per_frame": curve}


def _flops(judged: Evaluation) -> dict[str, float]:
    """By PyTorch's counter: training of each stage in all, and one generated latent frame of the suite's videos."""
    from zoo.cost import clip_shape, generator_cost, network_cost, rollout_cost, suite_shape, tokenizer_cost

    recipe = judged.recipe
    tokenizer, generator = tokenizer_cost(recipe), generator_cost(recipe, network_cost(recipe, clip_shape(recipe)))
    rollout = rollout_cost(recipe, judged.suite, network_cost(recipe, suite_shape(recipe, judged.suite)))
    return {
        "tokenizer": tokenizer["flops_per_step"] * tokenizer["steps"],
        "generator": generator["flops_per_step"] * generator["steps"],
        "generated_frame": rollout["flops_per_frame"],
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


def shown(clips: Sequence[Clip]) -> list[int]:
    """Which clips' videos go beside a record: the first of each kind of tour, else the first `SHOWN`; in order."""
    firsts: dict[str, int] = {}
    for index, clip in enumerate(clips):
        firsts.setdefault(clip.tour, index)
    return list(firsts.values()) if len(firsts) > 1 else list(range(min(SHOWN, len(clips))))


def write_row(
    record: records.Record, folder: Path, clips: Sequence[Clip], videos: Sequence[np.ndarray], context: int
) -> Path:
    """Videos, strips and the types of the frames first, then the record that names them.

    ``videos[i]``, uint8 [T, H, W, 3], stands beside ``clips[i]``; clips beyond the last video are left out. Truths lie
    in files named by their content, so that the rows of a folder share them.
    """
    from components.video_file import write_contact_sheet, write_mp4

    media = folder / "media" / records.file_name(record).removesuffix(".json")
    files: dict[str, Path] = {}
    for number, (clip, video) in enumerate(zip(clips, videos, strict=False)):
        scale = max(1, round(SHOWN_HEIGHT / video.shape[1]))
        truth = folder / "media" / f"truth-{_content(clip, scale)}.mp4"
        if not truth.exists():
            write_mp4(truth, np.asarray(clip.frames), clip.fps, scale=scale)
        files[f"truth/{clip.episode}"] = truth
        files[f"video/{clip.episode}"] = write_mp4(media / f"video-{number}.mp4", video, clip.fps, scale=scale)
        after = slice(context, None)
        pair = [clip.frames[after], np.asarray(video)[after]]
        files[f"strip/{clip.episode}"] = write_contact_sheet(
            media / f"strip-{number}.png", pair, columns=10, scale=max(1, scale // 2)
        )
        if clip.poses is not None:
            files[f"frames/{clip.episode}"] = _write_frames(media / f"frames-{number}.jsonl", clip, context)
    names = {name: str(path.relative_to(folder)) for name, path in files.items()}
    return records.write(record.model_copy(update={"artifacts": names}), folder)


def _content(clip: Clip, scale: int) -> str:
    frames = np.ascontiguousarray(clip.frames)
    return hashlib.sha256(f"{frames.shape} {clip.fps} {scale} ".encode() + frames.tobytes()).hexdigest()[:16]


def _write_frames(path: Path, clip: Clip, context: int) -> Path:
    """What the page marks on its scrub bar: one line of JSON with the type of every frame, run by run.

    Not called ``.json``, since everything of that name below a folder of records is read as a record.
    """
    assert clip.poses is not None
    names = {CONTEXT: "context", **NAMES}
    types = [[names[int(kind)], len(list(run))] for kind, run in groupby(frame_types(clip.poses, context))]
    facts = {"fps": clip.fps, "context": context, "tour": clip.tour, "source": clip.source, "types": types}
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(facts) + "\n", encoding="utf-8")
    return path
