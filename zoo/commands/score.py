"""``zoo score fake=DIR real=DIR metrics=fd_lite0_motion,psnr [frames=16 stride=1 size=64 context=0] [format=json]``

The metric harness on any two folders of videos, paired by name (or in order, where no name is shared), or on two
``.npz`` files with an array ``features`` [N, D] for ``metrics=frechet``. ``size`` makes every video a square of that
side; ``context`` leaves the first frames unscored; ``fvd`` needs ``i3d=FILE``, a local TorchScript I3D.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo import registry
from zoo.errors import BadValue, UnknownName, UnmetNeed, UserError, nearest
from zoo.overrides import keywords, split

KEYS = ("fake", "real", "metrics", "frames", "stride", "size", "context", "reader", "i3d", "preset", "format")
DEFAULTS = {"frames": "16", "stride": "1", "context": "0", "reader": "pyav", "format": "table"}
WINDOW = 16


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit code."""
    keywords(arguments, KEYS)  # refuses what is unknown; the values stay text, since a folder may be called 2026
    options = {**DEFAULTS, **dict(split(arguments))}
    for key in ("fake", "real"):
        if key not in options:
            raise BadValue(f"{key}=… is missing: give two folders of videos, fake=DIR real=DIR.")
    if options["format"] not in ("table", "json"):
        raise BadValue(f"format={options['format']} is not known.{nearest(options['format'], ['table', 'json'])}")
    fake, real = Path(options["fake"]), Path(options["real"])
    if fake.suffix == ".npz" or real.suffix == ".npz":
        figures = _score_features(fake, real, options)
    else:
        figures = _score_videos(fake, real, options)
    _show(figures, options)
    return 0


def _score_features(fake: Path, real: Path, options: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Fréchet distance and its companions of two feature sets, any N and M."""
    if options.get("metrics", "frechet") != "frechet":
        raise BadValue("of features only metrics=frechet can be had; give folders of videos for other metrics.")
    from benchmarks.frechet import fd_infinity, frechet_distance, polynomial_mmd, real_floor

    x, y = _features(fake), _features(real)
    if x.shape[1] != y.shape[1]:
        raise BadValue(f"{fake} has {x.shape[1]} features and {real} {y.shape[1]}: take both from one extractor.")
    parts = {"mmd": polynomial_mmd(x, y)}
    if min(len(x), len(y)) >= 8:
        parts |= {"infinity": fd_infinity(x, y), "real_vs_real": real_floor(y)}
    key = f"frechet; features; n={len(x)}; m={len(y)}; d={x.shape[1]}; ddof=1"
    figure = {"value": frechet_distance(x, y), "n": len(x), "interval": None, "higher_is_better": False, "key": key}
    return {"frechet": {**figure, "unit": "", "parts": {name: {"value": value} for name, value in parts.items()}}}


def _features(path: Path) -> Any:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            features = archive["features"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"cannot read an array 'features' from {path}: save it by np.savez(…, features=…).") from error
    numbers = features.dtype.kind in "fiu" and features.ndim == 2 and len(features) > 1
    if not numbers or not np.isfinite(features).all():
        raise UserError(f"'features' in {path} is {list(features.shape)}: it must be finite, [N, D] with N >= 2.")
    return features


def _score_videos(fake: Path, real: Path, options: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    frames, stride = _number(options, "frames", 1), _number(options, "stride", 1)
    context = _number(options, "context", 0)
    size = _number(options, "size", 8) if "size" in options else None
    if context >= frames:
        raise BadValue(f"context={context} leaves nothing to score of frames={frames}: lower it.")
    metrics = _metrics(options, frames - context)
    registry.card("reader", options["reader"])

    # torch only from here on: everything the user can mistype has been checked
    from benchmarks.enough import check_enough
    from benchmarks.folder_pair import Videos, fingerprint, pair
    from benchmarks.harness import dataset_name, evaluate
    from benchmarks.suite import Suite

    pairs = pair(fake, real)
    reader = registry.build("reader", options["reader"])
    fakes, reals = (
        Videos([both[side] for both in pairs], reader, frames=frames, stride=stride, size=size) for side in (0, 1)
    )
    overrides = {"stride": stride, "size": size, "context": context, "reader": reader.version}
    said = {"name": "score", "version": 1, "frames": max(2, frames), "context": context, "metrics": metrics}
    suite = Suite.model_validate({**said, "modified": True, "overrides": overrides})
    dataset = dataset_name("folder", fingerprint(reals.paths))
    check_enough(suite, reals, dataset=dataset, cure="give more pairs of videos")
    results = evaluate(fakes.frames_only(), reals, suite, dataset=dataset)
    return {name: metric.model_dump(mode="json") for name, metric in results.metrics.items()}


def _metrics(options: Mapping[str, str], scored: int) -> tuple[Any, ...]:
    """Entries of the suite, from ``metrics=a,b``; Fréchet windows do not overlap, and are as long as fits up to 16."""
    from benchmarks.suite import SHORT_NAMES, entry

    wanted = [name.strip() for name in options.get("metrics", "fd_lite0_motion,fd_lite0_appearance").split(",")]
    known = sorted({*registry.names("metric"), *SHORT_NAMES})
    entries = []
    for name in wanted:
        if name not in known:
            raise UnknownName(f"no metric is named '{name}'.{nearest(name, known)}")
        metric = entry(name)
        if registry.card("metric", metric.name).needs:
            needs = ", ".join(sorted(registry.card("metric", metric.name).needs))
            raise UnmetNeed(f"metric '{name}' needs {needs}, which folders of videos do not have: drop the metric.")
        extra: dict[str, Any] = {}
        if metric.name == "frechet":
            window = min(WINDOW, scored)
            if window < 3:
                raise BadValue(f"{name} needs at least 3 scored frames, not {scored}: raise frames.")
            extra = {"frames": window, "hop": window, "feature_options": _feature_options(name, metric, options)}
        elif metric.name == "perceptual":
            extra = {"every": 1}
        entries.append(metric.model_copy(update={"options": {**metric.options, **extra}}))
    return tuple(entries)


def _feature_options(name: str, metric: Any, options: Mapping[str, str]) -> dict[str, Any]:
    given = dict(metric.options.get("feature_options", {}))
    if metric.options.get("feature") == "i3d":
        if "i3d" not in options:
            raise UnmetNeed(f"{name} needs I3D's weights, which are not ours to ship: give i3d=FILE (TorchScript).")
        given |= {"path": options["i3d"], **({"preset": options["preset"]} if "preset" in options else {})}
    return given


def _number(options: Mapping[str, str], key: str, least: int) -> int:
    try:
        value = int(options[key])
    except ValueError:
        raise BadValue(f"{key}={options[key]} is not an integer.") from None
    if value < least:
        raise BadValue(f"{key}={value} must be at least {least}.")
    return value


def _show(figures: Mapping[str, Mapping[str, Any]], options: Mapping[str, str]) -> None:
    if options["format"] == "json":
        settings = {key: value for key, value in options.items() if key != "format"}
        print(json.dumps({"settings": settings, "metrics": figures}, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value", "95 % interval", "videos", "better")
    for name, figure in figures.items():
        low_high = "" if figure["interval"] is None else "{:.4g} … {:.4g}".format(*figure["interval"])
        better = {True: "higher", False: "lower", None: ""}[figure["higher_is_better"]]
        table.add_row(name, _plain(figure["value"], figure["unit"]), low_high, str(figure["n"]), better)
        for part, inner in figure["parts"].items():
            table.add_row(f"  {part}", _plain(inner["value"], figure["unit"]), "", "", "", style="dim")
    Console().print(table)


def _plain(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.4g} {unit}".rstrip()
