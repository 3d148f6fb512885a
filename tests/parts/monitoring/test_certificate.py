"""What the host says of the certificate that the edge serves, against real TLS servers."""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import jinja2
import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "roles/stack/templates/host/comentarios-certificate.j2"


@pytest.fixture
def certificate(tmp_path) -> Path:
    """A certificate for edge.example.com, 30 days long, that is its own authority; the key stands in the same file."""
    path = tmp_path / "edge.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        + ["-subj", "/CN=edge", "-addext", "subjectAltName=DNS:edge.example.com", "-days", "30"]
        + ["-keyout", path, "-out", tmp_path / "cert.pem"],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + (tmp_path / "cert.pem").read_text())
    return path


@pytest.fixture
def edge(certificate):
    """The port of a TLS server that closes each connection after the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=5)


def _look(tmp_path: Path, port: int, domain: str, authority: Path | None) -> str:
    """Run the script as the role writes it, with another port and another folder; the metrics that it leaves."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["to_json"] = json.dumps
    text = environment.from_string(SCRIPT.read_text()).render(stack_domain=domain, ansible_managed="")
    target = tmp_path / "certificate.prom"
    for constant, value in (
        ('("127.0.0.1", 443)', f'("127.0.0.1", {port})'),
        ("/var/lib/node_exporter/textfile", str(tmp_path)),
    ):
        assert constant in text
        text = text.replace(constant, value)
    (tmp_path / "script").write_text(text)
    trust = {"SSL_CERT_FILE": str(authority)} if authority else {}
    kept = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    subprocess.run([sys.executable, tmp_path / "script"], env=kept | trust, check=True, timeout=30)
    return target.read_text()


def _value(text: str, name: str) -> float | None:
    found = [line.split()[1] for line in text.splitlines() if line.startswith(f'{name}{{domain="')]
    return float(found[0]) if found else None


def test_good_certificate(tmp_path, edge, certificate):
    text = _look(tmp_path, edge, "edge.example.com", certificate)
    assert _value(text, "comentarios_certificate_valid") == 1
    left = _value(text, "comentarios_certificate_expiry_timestamp_seconds") - time.time()
    assert 29.9 * 86400 < left <= 30 * 86400
    assert (tmp_path / "certificate.prom").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(("domain", "trusted"), [("edge.example.com", False), ("other.example.com", True)])
def test_certificate_that_clients_refuse(tmp_path, edge, certificate, domain, trusted):
    text = _look(tmp_path, edge, domain, certificate if trusted else None)
    assert _value(text, "comentarios_certificate_valid") == 0
    assert _value(text, "comentarios_certificate_expiry_timestamp_seconds") is None


def test_nobody_listens(tmp_path, certificate):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert _value(_look(tmp_path, port, "edge.example.com", certificate), "comentarios_certificate_valid") == 0
