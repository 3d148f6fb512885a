"""ECR's image store: a Docker Distribution registry with TLS and basic authentication, under ECR's own names.

It is kept in step with ECR's API: pushed tags are listed, deleted tags are removed.
"""

import base64
import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Collection
from email.message import Message
from typing import Any

from common import files, keys
from common.aws import client
from common.config import ECR_USER, Config, ecr_host, regions, stored
from common.docker import copy_into, docker, inspect
from common.errors import CommandError
from sandbox import ec2

REGISTRY_UID = 10002  # the user in images/Dockerfile
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
    """Starts the registry unless it already answers, from this image.

    Raises:
        CommandError: it does not answer within 15 s.
    """
    name = f"{config.name}-ecr"
    found = inspect("container", name)
    image_id = (inspect("image", image) or {}).get("Id")
    # It may also have been started with another SANDBOX_REGISTRY_PORT.
    if found and found["Image"] == image_id and tags(config) is not None:
        return
    if found:
        docker("rm", "--force", name)
    # A slow import that only a new registry needs.
    import bcrypt

    make_certificate(config)
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


def make_certificate(config: Config) -> None:
    """Creates this sandbox's CA and a certificate for ECR's name in each region, once per sandbox."""
    import trustme

    if (config.state / "ecr.key").exists():
        return
    authority = trustme.CA()
    certificate = authority.issue_cert(*map(ecr_host, regions()), "127.0.0.1")
    files.write(config.state / "ca.pem", authority.cert_pem.bytes().decode())
    files.write(config.state / "ecr.pem", certificate.cert_chain_pems[0].bytes().decode())
    files.write(config.state / "ecr.key", certificate.private_key_pem.bytes().decode())


def sync(config: Config, deleted: Collection[str]) -> None:
    """Lists every pushed tag in the API, and removes deleted tags from the store.

    The state folder keeps the tags that the API has listed before: a tag that only the store has was either pushed just
    now, perhaps again, or deleted through the API.

    Args:
        deleted: tags that were deleted through the API, as ``repository:tag`` of the store.
    """
    pushed = tags(config)
    if pushed is None:
        return
    record = config.state / "ecr-listed.json"
    listed_before = set(json.loads(record.read_text())) if record.exists() else set()
    listed_now = set()
    for region in ec2.regions(config):
        ecr = client(config, "ecr", region)
        for repository in ecr.describe_repositories()["repositories"]:
            name = repository["repositoryName"]
            path = stored(region, name)
            pages = ecr.get_paginator("list_images").paginate(repositoryName=name)
            listed = {image.get("imageTag") for page in pages for image in page["imageIds"]}
            for tag in set(pushed.get(path, [])) - listed:
                if f"{path}:{tag}" in listed_before and f"{path}:{tag}" in deleted:
                    delete(config, path, tag)
                else:
                    content, media_type = manifest(config, path, tag)
                    ecr.put_image(
                        repositoryName=name,
                        imageManifest=content,
                        imageManifestMediaType=media_type,
                        imageTag=tag,
                    )
                    listed.add(tag)
            listed_now |= {f"{path}:{tag}" for tag in listed if tag}
    files.write(record, json.dumps(sorted(listed_now)))


def tags(config: Config) -> dict[str, list[str]] | None:
    """The tags of every repository in the store; None if it does not answer."""
    try:
        names = _json(config, "/v2/_catalog?n=1000").get("repositories") or []
        return {name: _json(config, f"/v2/{name}/tags/list").get("tags") or [] for name in names}
    except (OSError, http.client.HTTPException):
        return None


def manifest(config: Config, repository: str, tag: str) -> tuple[str, str]:
    """A tag's manifest and its media type."""
    headers, content = _ask(config, f"/v2/{repository}/manifests/{tag}")
    return content.decode(), headers["Content-Type"]


def delete(config: Config, repository: str, tag: str) -> None:
    """Removes a tag's manifest from the store."""
    headers, _ = _ask(config, f"/v2/{repository}/manifests/{tag}")
    _ask(config, f"/v2/{repository}/manifests/{headers['Docker-Content-Digest']}", "DELETE")


def _json(config: Config, path: str) -> Any:
    try:
        return json.loads(_ask(config, path)[1])
    except urllib.error.HTTPError as error:
        if error.code == 404:  # all tags of the repository were deleted
            return {}
        raise


def _ask(config: Config, path: str, method: str = "GET") -> tuple[Message, bytes]:
    """The headers and the body of an answer.

    Raises:
        OSError: the store does not answer, or refuses.
    """
    accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
    login = base64.b64encode(f"{ECR_USER}:{keys.load(config.state).registry}".encode()).decode()
    headers = {"Accept": f"{accept}, application/json", "Authorization": f"Basic {login}"}
    request = urllib.request.Request(f"https://{config.push_address}{path}", headers=headers, method=method)
    trusted = ssl.create_default_context(cafile=config.state / "ca.pem")
    # Ignores proxies from the environment.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted))
    with opener.open(request, timeout=10) as reply:
        return reply.headers, reply.read()
