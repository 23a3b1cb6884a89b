"""``zoo doctor [format=json]``: versions, devices, which readers work, what is missing and what it would be for.

Exit code 0 if the core is complete, 1 if a required package is missing or no reader works.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import sys
from importlib import metadata
from typing import Any

import zoo
from zoo import registry
from zoo.errors import BadValue
from zoo.extras import EXTRAS
from zoo.overrides import keywords

CORE = ("torch", "torchvision", "lightning", "einops", "numpy", "pydantic", "hydra-core", "torchmetrics", "av", "rich")


def main(arguments: list[str]) -> int:
    """Print the report."""
    style = keywords(arguments, ["format"]).get("format", "text")
    if style not in ("text", "json"):
        raise BadValue(f"format: {style!r} is not one of 'text' or 'json'.")
    report = examine()
    if style == "json":
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _print(report)
    works = any(state["works"] for state in report["readers"].values())
    return 0 if works and None not in report["packages"].values() else 1


def examine() -> dict[str, Any]:
    """Everything the report says, as plain data; a package that is absent has the version None."""
    return {
        "spacetime-zoo": zoo.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in CORE},
        "devices": _devices(),
        "readers": {name: _reader(name) for name in registry.names("reader")},
        "plugins": [f"{axis}.{name}" for axis in registry.axes() for name in registry.plugin_names(axis)],
        "missing": [extra._asdict() for extra in EXTRAS if importlib.util.find_spec(extra.module) is None],
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> list[str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = [f"cpu: {platform.processor() or platform.machine()}, {cores} cores"]
    try:
        import torch
    except ImportError:
        return found
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(f"cuda:{index}: {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        found.append("mps: Apple GPU")
    return found


def _reader(name: str) -> dict[str, Any]:
    """Whether a reader can be made here. Any failure is an answer: this command exists to report it."""
    try:
        return {"works": True, "detail": registry.build("reader", name).version}
    except Exception as error:
        return {"works": False, "detail": " ".join(str(error).split()) or type(error).__name__}


def _print(report: dict[str, Any]) -> None:
    print(f"spacetime-zoo {report['spacetime-zoo']}, Python {report['python']}, {report['platform']}")
    print("\npackages")
    for name, version in report["packages"].items():
        print(f"  {name:<14}{version or f'MISSING: pip install {name}'}")
    print("\ndevices")
    for device in report["devices"]:
        print(f"  {device}")
    print("\nreaders of video files")
    for name, state in report["readers"].items():
        print(f"  {name:<14}{'works' if state['works'] else 'does not work'}: {state['detail']}")
    if report["plugins"]:
        print(f"\nplug-ins\n  {', '.join(report['plugins'])}")
    print("\nnot installed, and what it would be for" if report["missing"] else "\nevery optional package is installed")
    for extra in report["missing"]:
        print(f"  {extra['module']:<14}{extra['purpose']}: {extra['install']}")
    sys.stdout.flush()
