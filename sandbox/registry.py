"""ECR's image store: a Docker Distribution registry with TLS and basic auth under ECR's own name."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import ssl
import time
import urllib.error
import urllib.request
from typing import Any

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox import files, keys
from sandbox.config import ECR_HOST, ECR_USER, Config
from sandbox.docker import docker, inspect
from sandbox.errors import SandboxError

REGISTRY_UID = 10002  # the user in images/registry/Dockerfile
CONFIGURATION = {
    "version": "0.1",
    "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}, "delete": {"enabled": True}},
    "http": {
        "addr": ":443",
        "tls": {"certificate": "/etc/sandbox/registry.pem", "key": "/etc/sandbox/registry.key"},
    },
    "auth": {"htpasswd": {"realm": "ECR", "path": "/etc/sandbox/htpasswd"}},
}


def container_name(config: Config) -> str:
    return f"{config.name}-ecr"


def up(config: Config, image: str) -> bool:
    """Starts the registry unless it runs already from this image; returns whether it had to.

    Raises:
        SandboxError: it does not answer within 15 s.
    """
    name = container_name(config)
    found = inspect("container", name)
    image_id = (inspect("image", image) or {}).get("Id")
    if found and found["State"]["Running"] and found["Image"] == image_id:
        return False
    if found:
        docker("rm", "--force", name)
    _certificates(config)
    docker("volume", "create", "--label", config.label, f"{name}-images")
    docker(
        *("create", "--name", name, "--label", config.label, "--restart", "unless-stopped"),
        *("--network", config.name, "--ip", config.registry_address, "--network-alias", ECR_HOST),
        *(
            "--publish",
            f"127.0.0.1:{config.registry_port}:443",
            "--volume",
            f"{name}-images:/var/lib/registry",
        ),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        image,
    )
    password = bcrypt.hashpw(keys.load(config.state).registry.encode(), bcrypt.gensalt(4)).decode()
    content = {
        # JSON is YAML.
        "etc/sandbox/registry.yml": json.dumps(CONFIGURATION),
        "etc/sandbox/htpasswd": f"{ECR_USER}:{password}\n",
        "etc/sandbox/registry.pem": (config.state / "ecr.pem").read_text(),
        "etc/sandbox/registry.key": (config.state / "ecr.key").read_text(),
    }
    files.copy_into(name, content, uid=REGISTRY_UID, mode=0o600)
    docker("start", name)
    for _ in range(75):
        if tags(config) is not None:
            return True
        time.sleep(0.2)
    raise SandboxError(f"the registry does not answer on {config.push_address}: see `docker logs {name}`")


def tags(config: Config) -> dict[str, list[str]] | None:
    """The tags of every repository in the store, None while it does not answer."""
    try:
        names = _get(config, "/v2/_catalog?n=1000")["repositories"] or []
        return {name: _get(config, f"/v2/{name}/tags/list")["tags"] or [] for name in names}
    except OSError:
        return None


def manifest(config: Config, repository: str, tag: str) -> tuple[str, str]:
    """A tag's manifest and its media type."""
    response = _open(config, f"/v2/{repository}/manifests/{tag}")
    return response.read().decode(), response.headers["Content-Type"]


def delete(config: Config, repository: str, tag: str) -> None:
    """Removes a tag's manifest from the store."""
    digest = _open(config, f"/v2/{repository}/manifests/{tag}").headers["Docker-Content-Digest"]
    _open(config, f"/v2/{repository}/manifests/{digest}", method="DELETE")


def _get(config: Config, path: str) -> Any:
    try:
        return json.loads(_open(config, path).read())
    except urllib.error.HTTPError as error:
        if error.code == 404:  # a repository whose every tag was deleted
            return {"tags": [], "repositories": []}
        raise


def _open(config: Config, path: str, method: str = "GET") -> Any:
    token = base64.b64encode(f"{ECR_USER}:{keys.load(config.state).registry}".encode()).decode()
    accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
    request = urllib.request.Request(
        f"https://{config.push_address}{path}",
        headers={"Authorization": f"Basic {token}", "Accept": f"{accept}, application/json"},
        method=method,
    )
    context = ssl.create_default_context(cafile=str(config.state / "ca.pem"))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    return opener.open(request, timeout=10)


def _certificates(config: Config) -> None:
    """A CA of this sandbox's own and a certificate for ECR's name, kept for as long as the sandbox is."""
    if (config.state / "ecr.key").exists():
        return
    ca_key, ca_name = ec.generate_private_key(ec.SECP256R1()), _name("comentarios sandbox CA")
    ca = (
        _builder(ca_name, ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName(ECR_HOST), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        _builder(_name("ECR"), ca_name, key)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    files.write(config.state / "ca.pem", ca.public_bytes(serialization.Encoding.PEM).decode())
    files.write(config.state / "ecr.pem", certificate.public_bytes(serialization.Encoding.PEM).decode())
    files.write(
        config.state / "ecr.key",
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(**allowed: bool) -> x509.KeyUsage:
    every = (
        *(
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
        ),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in every})


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=800))
    )
