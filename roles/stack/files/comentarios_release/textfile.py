"""Metrics of releases, in a file for the node exporter."""

from pathlib import Path

from .files import write
from .records import Record


def publish(file: Path, live: Record | None, succeeded: bool) -> None:
    """Writes the live release, its time, and the outcome of the last one."""
    ended = "Whether the last release came to a good end."
    metrics = {"comentarios_release_last_success": (ended, "", float(succeeded))}
    if live:
        version = f'version="{live.tag}"'
        since = live.times.get("switched") or live.finished or live.started
        began = "When the release that serves began to."
        metrics["comentarios_release_info"] = ("The release that serves.", f"{{{version}}}", 1.0)
        metrics["comentarios_release_timestamp_seconds"] = (began, f'{{kind="{live.kind}",{version}}}', since)
    write_metrics(file, metrics)


def write_metrics(file: Path, metrics: dict[str, tuple[str, str, float]]) -> None:
    """Writes gauges: the help, the labels and the value of each name."""
    lines = []
    for name, (meaning, labels, value) in sorted(metrics.items()):
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", f"{name}{labels} {value:.3f}"]
    write(file, "\n".join(lines) + "\n")
