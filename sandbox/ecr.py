"""Keeps ECR's API and its image store in step: pushed tags are listed, deleted tags are removed."""

import json
from collections.abc import Collection

from common import files
from common.config import Config
from sandbox import ec2, registry


def sync(config: Config, deleted: Collection[str]) -> None:
    """Lists every pushed tag in the API, and removes deleted tags from the store.

    The state folder keeps the tags that the API has listed before: a tag that only the store has was either pushed just
    now, perhaps again, or deleted through the API.

    Args:
        deleted: tags that were deleted through the API, as ``repository:tag``.
    """
    stored = registry.tags(config)
    if stored is None:
        return
    ecr = ec2.client(config, "ecr")
    record = config.state / "ecr-listed.json"
    listed_before = set(json.loads(record.read_text())) if record.exists() else set()
    listed_now = set()
    for repository in ecr.describe_repositories()["repositories"]:
        name = repository["repositoryName"]
        pages = ecr.get_paginator("list_images").paginate(repositoryName=name)
        listed = {image.get("imageTag") for page in pages for image in page["imageIds"]}
        for tag in set(stored.get(name, [])) - listed:
            if f"{name}:{tag}" in listed_before and f"{name}:{tag}" in deleted:
                registry.delete(config, name, tag)
            else:
                manifest, media_type = registry.manifest(config, name, tag)
                ecr.put_image(
                    repositoryName=name,
                    imageManifest=manifest,
                    imageManifestMediaType=media_type,
                    imageTag=tag,
                )
                listed.add(tag)
        listed_now |= {f"{name}:{tag}" for tag in listed if tag}
    files.write(record, json.dumps(sorted(listed_now)))
