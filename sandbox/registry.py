"""ECR's image store: a Docker Distribution registry with TLS and basic authentication, under ECR's own names."""

import json
import time
from functools import cache
from typing import Any

import requests

from common import keys
from common.config import ECR_USER, Config, ecr_host, regions
from common.docker import copy_into, docker, inspect
from common.errors import CommandError

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


def up(config: Config, image: str) -> None:
    """Starts the registry unless it already runs from this image.

    Raises:
        CommandError: it does not answer within 15 s.
    """
    # Slow imports that only this function needs.
    import bcrypt

    from sandbox import certificates

    name = f"{config.name}-ecr"
    found = inspect("container", name)
    image_id = (inspect("image", image) or {}).get("Id")
    if found and found["State"]["Running"] and found["Image"] == image_id:
        return
    if found:
        docker("rm", "--force", name)
    certificates.make(config)
    docker("volume", "create", "--label", config.label, f"{name}-images")
    docker(
        *("create", "--name", name, "--label", config.label, "--restart", "unless-stopped"),
        *("--network", config.name, "--ip", config.registry_address),
        *(f"--network-alias={ecr_host(region)}" for region in regions()),
        *("--publish", f"127.0.0.1:{config.registry_port}:443", "--volume", f"{name}-images:/var/lib/registry"),
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
    copy_into(name, content, uid=REGISTRY_UID, mode=0o600)
    docker("start", name)
    for _ in range(75):
        if tags(config) is not None:
            return
        time.sleep(0.2)
    raise CommandError(f"the registry does not answer on {config.push_address}: see `docker logs {name}`")


def tags(config: Config) -> dict[str, list[str]] | None:
    """The tags of every repository in the store; None if it does not answer."""
    try:
        names = _json(config, "/v2/_catalog?n=1000").get("repositories") or []
        return {name: _json(config, f"/v2/{name}/tags/list").get("tags") or [] for name in names}
    except OSError:
        return None


def manifest(config: Config, repository: str, tag: str) -> tuple[str, str]:
    """A tag's manifest and its media type."""
    reply = _ask(config, f"/v2/{repository}/manifests/{tag}")
    reply.raise_for_status()
    return reply.content.decode(), reply.headers["Content-Type"]


def delete(config: Config, repository: str, tag: str) -> None:
    """Removes a tag's manifest from the store."""
    digest = _ask(config, f"/v2/{repository}/manifests/{tag}").headers["Docker-Content-Digest"]
    _ask(config, f"/v2/{repository}/manifests/{digest}", "DELETE").raise_for_status()


def _json(config: Config, path: str) -> Any:
    reply = _ask(config, path)
    if reply.status_code == 404:  # all tags of the repository were deleted
        return {}
    reply.raise_for_status()
    return reply.json()


def _ask(config: Config, path: str, method: str = "GET") -> requests.Response:
    accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
    return _session().request(
        method,
        f"https://{config.push_address}{path}",
        auth=(ECR_USER, keys.load(config.state).registry),
        headers={"Accept": f"{accept}, application/json"},
        verify=str(config.state / "ca.pem"),
        timeout=10,
    )


@cache
def _session() -> requests.Session:
    """One connection for all requests: a new one with TLS takes more CPU than the answer."""
    session = requests.Session()
    # Ignores proxies and CAs from the environment.
    session.trust_env = False
    return session
