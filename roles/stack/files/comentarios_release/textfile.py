"""Metrics of releases and of the certificate, in files for the node exporter."""

import socket
import ssl
import sys
from pathlib import Path

from .files import write
from .records import Record


def publish(file: Path, live: Record | None, succeeded: bool) -> None:
    """Writes the live release, its time, and the outcome of the last one."""
    ended = "Whether the last release succeeded."
    metrics = {"comentarios_release_last_success": (ended, "", float(succeeded))}
    if live:
        version = f'version="{live.tag}"'
        since = live.times.get("switched") or live.finished or live.started
        began = "When the live release became live."
        metrics["comentarios_release_info"] = ("The live release.", f"{{{version}}}", 1.0)
        metrics["comentarios_release_timestamp_seconds"] = (began, f'{{kind="{live.kind}",{version}}}', since)
    write_metrics(file, metrics)


def publish_certificate(file: Path, domain: str, port: int = 443) -> None:
    """Writes when the edge's certificate expires, and whether clients accept it."""
    labels, valid = f'{{domain="{domain}"}}', False
    metrics: dict[str, tuple[str, str, float]] = {}
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=domain) as edge,
        ):
            certificate = edge.getpeercert() or {}
        expiry = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
        metrics["comentarios_certificate_expiry_timestamp_seconds"] = ("When the certificate expires.", labels, expiry)
        valid = True
    except OSError as error:
        print(f"{domain}: {error}", file=sys.stderr)
    taken = "Whether a client accepts the certificate."
    metrics["comentarios_certificate_valid"] = (taken, labels, valid)
    write_metrics(file, metrics)


def write_metrics(file: Path, metrics: dict[str, tuple[str, str, float]]) -> None:
    """Writes gauges: the help, the labels and the value of each name."""
    lines = []
    for name, (meaning, labels, value) in sorted(metrics.items()):
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", f"{name}{labels} {value:.3f}"]
    write(file, "\n".join(lines) + "\n")
