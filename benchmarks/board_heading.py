"""Which protocol made a record's figures, as a key, as a text and as the heading of a board. Torch-free."""

from __future__ import annotations

from benchmarks.record import Record, digest


def clean(text: str) -> str:
    """Text without control characters: a hostile name must not steer a terminal or break a line."""
    return "".join(c if c.isprintable() else "�" for c in text)


def protocol_key(record: Record) -> tuple:
    """Equal for rows of one board: suite, version, world, task, context, overridden options and test content."""
    suite = record.suite
    options = digest(suite.options) if suite.modified else ""
    chosen = tuple(str(suite.options.get(choice, "")) for choice in ("world", "task", "context"))
    return suite.name, suite.version, *chosen, options, record.dataset.name, record.dataset.fingerprint


def protocol_text(record: Record) -> str:
    """``long500@1/maze500/c250``: as the metrics' keys say it, else from the suite's name and choices."""
    keys = [key for metric in record.metrics.values() for key in metric.key.split("; ") if key.startswith("protocol=")]
    if keys:
        return clean(keys[0].removeprefix("protocol="))
    suite = record.suite
    world = suite.options.get("world")
    chosen = f"/{world}/c{suite.options.get('context')}" if world else ""
    return clean(f"{suite.name}@{suite.version}{chosen}" + (f"+{digest(suite.options)}" if suite.modified else ""))


def heading(record: Record) -> tuple[str, str]:
    """Title and subtitle of a board: suite and version, with world and context where they are a choice; the data."""
    suite, data = record.suite, record.dataset
    world = suite.options.get("world")
    task, closing = suite.options.get("task"), suite.options.get("closing")
    given = f" · {suite.options.get('context')} context frames" + (f" · {closing} closing frames" if closing else "")
    given = "" if suite.options.get("judges", "generator") != "generator" else given
    chosen = f" · {world}" if world else ""
    chosen += (f" · {task}" if task else "") + (given if world or task else "")
    modified = f", modified: {suite.options}" if suite.modified else ""
    return (
        clean(f"{suite.name} v{suite.version}{chosen}"),
        clean(f"data set {data.name} ({data.fingerprint[:12]}){modified}"),
    )
