"""Keeps ECR's API and its image store in step: pushed tags are listed, deleted tags are removed."""

import json
from collections.abc import Collection

from common import files
from common.config import Config, stored
from sandbox import ec2, registry


def sync(config: Config, deleted: Collection[str]) -> None:
    """Lists every pushed tag in the API, and removes deleted tags from the store.

    The state folder keeps the tags that the API has listed before: a tag that only the store has was either pushed just
    now, perhaps again, or deleted through the API.

    Args:
        deleted: tags that were deleted through the API, as ``repository:tag`` of the store.
    """
    pushed = registry.tags(config)
    if pushed is None:
        return
    record = config.state / "ecr-listed.json"
    listed_before = set(json.loads(record.read_text())) if record.exists() else set()
    listed_now = set()
    for region in ec2.regions(config):
        ecr = ec2.client(config, "ecr", region)
        for repository in ecr.describe_repositories()["repositories"]:
            name = repository["repositoryName"]
            path = stored(region, name)
            pages = ecr.get_paginator("list_images").paginate(repositoryName=name)
            listed = {image.get("imageTag") for page in pages for image in page["imageIds"]}
            for tag in set(pushed.get(path, [])) - listed:
                if f"{path}:{tag}" in listed_before and f"{path}:{tag}" in deleted:
                    registry.delete(config, path, tag)
                else:
                    manifest, media_type = registry.manifest(config, path, tag)
                    ecr.put_image(
                        repositoryName=name,
                        imageManifest=manifest,
                        imageManifestMediaType=media_type,
                        imageTag=tag,
                    )
                    listed.add(tag)
            listed_now |= {f"{path}:{tag}" for tag in listed if tag}
    files.write(record, json.dumps(sorted(listed_now)))
