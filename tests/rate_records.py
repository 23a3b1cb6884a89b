"""Records of tokenizers made up for tests: lines, dots, several settings, floors; figures as zoo.run writes them."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np

from benchmarks import rate
from benchmarks.contracts import Setting
from benchmarks.record import Cost, DatasetReference, Record, SuiteReference, digest
from tests.synthetic_records import START, of_videos

HEADLINES = ["pd_lite0", "temporal_detail"]
CLIPS = [f"maze/{i}" for i in range(8)]
SETTING = Setting("reconstruct@1/maze", "maze:abc", resamples=100)


def measured(level: float, seed: int, *, codes: int = 0, temporal: int = 1, channels: int = 4) -> rate.Measured:
    """Eight clips of 33 frames of 32×32; PSNR of a latent at b bits is that of the whole, less what the cells cost."""
    rng = np.random.default_rng([seed, codes, temporal, channels])
    own = np.random.default_rng(1).normal(0, 1.5, len(CLIPS)) + rng.normal(0, 0.2) + level
    psnr = dict(zip(CLIPS, (own + rng.normal(0, 0.1, len(CLIPS))).tolist(), strict=True))
    tokens = len(CLIPS) * (1 + math.ceil(32 / temporal)) * 64
    found = {
        "shapes": [(33, 32, 32)] * len(CLIPS), "tokens": tokens, "channels": channels, "psnr": psnr,
        "encode_seconds": 0.5, "decode_seconds": 1.0,
    }  # fmt: skip
    if codes:
        return rate.Measured(
            **found, codes=codes, codes_used=codes // 2, entropy=math.log(codes / 3),
            unquantised={clip: value + 1.5 for clip, value in psnr.items()},
        )  # fmt: skip
    by_bits = {
        bits: {c: -10 * math.log10(10 ** (-v / 10) + 0.05 * 4.0**-bits) for c, v in psnr.items()}
        for bits in range(1, 11)
    }
    return rate.Measured(**found, by_bits=by_bits)


def tokenizer(name: str, seed: int, level: float, /, **setting) -> Record:
    """One row: `name` at a setting (`codes`, `temporal`, `channels` of `measured`) and a training seed."""
    found = measured(level, seed, **setting)
    metrics, curves, per_video = rate.figures(found, SETTING)
    protocol = "protocol=reconstruct@1/maze; videos=8"
    noise = np.random.default_rng([seed, 7]).normal(0, 0.02, len(CLIPS))
    distance = dict(zip(CLIPS, (30 - level) / 20 + noise, strict=True))
    detail = {clip: value + 2 for clip, value in found.psnr.items()}
    own = {
        "psnr": of_videos(found.psnr, f"psnr v1; {protocol}", higher=True),
        "pd_lite0": of_videos(distance, f"pd v1; {protocol}", higher=False),
        "temporal_detail": of_videos(detail, f"temporal_detail v1; {protocol}", higher=True),
    }
    temporal = setting.get("temporal", 1)
    point = {"tokenizer": name, "tokenizer.temporal_factor": temporal, "train.tokenizer.seed": seed}
    options = {"world": "maze", "context": 0, "judges": "tokenizer", "headlines": HEADLINES}
    return Record(
        name="tokenizers", label=f"tokenizer={name}", group="g",
        suite=SuiteReference(name="reconstruct", version=1, options=options),
        recipe={
            "tokenizer": {"name": name, "temporal_factor": temporal},
            "train": {"tokenizer": {"seed": seed}}, "point": point,
        },
        recipe_hash=digest([name, seed, setting]), stages={"tokenizer": f"tokenizer-{name}{temporal}{seed}"},
        components={"tokenizer": name, "dataset": "maze"} | ({"quantizer": "vq"} if setting.get("codes") else {}),
        metrics=own | metrics, curves=curves,
        per_video={"psnr": found.psnr, "pd_lite0": distance, "temporal_detail": detail, **per_video},
        dataset=DatasetReference(name="maze", fingerprint="abc"), seeds={"tokenizer": seed, "suite": 0},
        cost=Cost(parameters={"tokenizer": 900_000}, trained_seconds={"tokenizer": 100.0}, seconds_per_frame=0.006),
        created=START + timedelta(minutes=seed),
    )  # fmt: skip


def floor(name: str, level: float) -> Record:
    """A control of the same board."""
    row = tokenizer("floor", 0, level)
    kept = {key: metric for key, metric in row.metrics.items() if key in ("psnr", *HEADLINES)}
    return row.model_copy(
        update={
            "name": name, "label": "", "kind": "control", "role": "floor", "recipe": {}, "recipe_hash": "",
            "components": {}, "seeds": {}, "stages": {}, "cost": Cost(), "curves": {}, "metrics": kept,
            "per_video": {key: row.per_video[key] for key in kept},
        }
    )  # fmt: skip


def study() -> list[Record]:
    """Six tokenizers, two of them at several factors in time, three seeds each, and two floors."""
    found = [floor("mean_frame", 17.0), floor("downscaled", 21.5)]
    for seed in range(3):
        found += [tokenizer("vae", seed, 29 - k, temporal=2**k) for k in range(3)]
        found += [tokenizer("magvit2", seed, 25.5 - k, temporal=2**k, codes=1024) for k in range(3)]
        found += [
            tokenizer("vqvae", seed, 24.0, temporal=4, codes=512),
            tokenizer("vqgan", seed, 24.4, codes=512),
            tokenizer("teco", seed, 24.1, codes=256),
            tokenizer("diffusers", seed, 27.2, channels=3),
        ]
    return found
