"""Metrics of releases, in a file for the node exporter."""

from pathlib import Path

from .files import write
from .records import Record

_HELP = {
    "comentarios_release_info": "The release that serves.",
    "comentarios_release_timestamp_seconds": "When the release that serves began to.",
    "comentarios_release_last_success": "Whether the last release came to a good end.",
}


def publish(file: Path, live: Record | None, succeeded: bool) -> None:
    """Writes the live release, its time, and the outcome of the last one."""
    samples = {"comentarios_release_last_success": ("", float(succeeded))}
    if live:
        version = f'version="{live.tag}"'
        since = live.times.get("switched") or live.finished or live.started
        samples["comentarios_release_info"] = (f"{{{version}}}", 1.0)
        samples["comentarios_release_timestamp_seconds"] = (f'{{kind="{live.kind}",{version}}}', since)
    lines = []
    for name, (labels, value) in sorted(samples.items()):
        lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} gauge", f"{name}{labels} {value:.3f}"]
    write(file, "\n".join(lines) + "\n")
