"""The metrics of the certificate, with real TLS servers."""

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


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
    """The metrics that the program leaves, asked of another port."""
    target = tmp_path / "certificate.prom"
    script = "import sys; from pathlib import Path; from comentarios_release import textfile as file;"
    script += "file.publish_certificate(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))"
    trust = {"SSL_CERT_FILE": str(authority)} if authority else {}
    kept = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    environment = kept | trust | {"PYTHONPATH": str(ROOT / "roles/stack/files")}
    subprocess.run([sys.executable, "-c", script, target, domain, str(port)], env=environment, check=True, timeout=30)
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
