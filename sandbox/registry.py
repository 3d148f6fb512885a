"""ECR's image store: a Docker Distribution registry with TLS and basic auth under ECR's own name."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
from typing import Any

from common import keys
from common.config import ECR_HOST, ECR_USER, Config
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


def container_name(config: Config) -> str:
    return f"{config.name}-ecr"


def up(config: Config, image: str) -> bool:
    """Starts the registry unless it runs already from this image; returns whether it had to.

    Raises:
        CommandError: it does not answer within 15 s.
    """
    # Large, and `make status` asks the registry for its tags only.
    import bcrypt

    from sandbox import certificates

    name = container_name(config)
    found = inspect("container", name)
    image_id = (inspect("image", image) or {}).get("Id")
    if found and found["State"]["Running"] and found["Image"] == image_id:
        return False
    if found:
        docker("rm", "--force", name)
    certificates.make(config)
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
    copy_into(name, content, uid=REGISTRY_UID, mode=0o600)
    docker("start", name)
    for _ in range(75):
        if tags(config) is not None:
            return True
        time.sleep(0.2)
    raise CommandError(f"the registry does not answer on {config.push_address}: see `docker logs {name}`")


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
