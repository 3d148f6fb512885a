"""The instance metadata service, version 2 only: a host's identity and its role's credentials.

Source: "Use the Instance Metadata Service to access instance metadata" in the EC2 user guide. Each host forwards its
link-local address to this service and adds a proof. Its address and the proof identify the instance.
"""

import datetime
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.wrappers import Request, Response

from common import keys
from common.config import ACCOUNT, Config
from sandbox import ec2

SESSION = datetime.timedelta(hours=1)
# Clients ask three times in a row, and finding the instance takes six requests to the APIs.
KNOWN_SECONDS = 2.0


class Metadata:
    """WSGI application that answers the hosts of one sandbox."""

    def __init__(self, config: Config) -> None:
        self._config = config
        # Token → its instance and its expiry.
        self._tokens: dict[str, tuple[str, float]] = {}
        self._credentials: dict[str, dict[str, Any]] = {}
        # Address and proof → until when, and the instance.
        self._known: dict[tuple[str, str], tuple[float, ec2.Instance]] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        instance = self._asking(request)
        if instance is None or "Origin" in request.headers:
            return Response("this is for the sandbox's hosts, at 169.254.169.254\n", status=403)
        if request.path == "/latest/api/token":
            return self._token(request, instance)
        holder, until = self._tokens.get(request.headers.get("X-aws-ec2-metadata-token", ""), ("", 0.0))
        if holder != instance.id or until < time.monotonic():
            return Response("the instance requires IMDSv2: PUT /latest/api/token first\n", status=401)
        answer = self._tree(instance).get(request.path.rstrip("/"))
        if answer is None:
            return Response(status=404)
        content = answer() if callable(answer) else answer
        return Response(content) if content else Response(status=404)

    def _asking(self, request: Request) -> ec2.Instance | None:
        """The instance that asks, by its address and by the proof that only its root has."""
        own, shown = keys.load(self._config.state), request.headers.get("X-Sandbox-Proof", "")
        address, now = str(request.remote_addr), time.monotonic()
        until, known = self._known.get((address, shown), (0.0, None))
        if until > now:
            return known
        # Only its own: clients on a busy machine do not wait until every region is listed.
        for instance in ec2.instances(self._config, address) if shown else []:
            if hmac.compare_digest(own.proof(instance.id).encode(), shown.encode()):
                self._known[address, shown] = now + KNOWN_SECONDS, instance
                return instance
        return None

    def _token(self, request: Request, instance: ec2.Instance) -> Response:
        if request.method != "PUT":
            return Response(status=405)
        seconds = request.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if "X-Forwarded-For" in request.headers:
            return Response(status=403)
        if not seconds.isdecimal() or not 1 <= int(seconds) <= 21600:
            return Response("X-aws-ec2-metadata-token-ttl-seconds: 1 to 21600\n", status=400)
        token, now = secrets.token_urlsafe(32), time.monotonic()
        with self._lock:
            self._tokens = {one: held for one, held in self._tokens.items() if held[1] > now}
            self._tokens[token] = instance.id, now + int(seconds)
        # For the host's forwarder, which limits the answer to this number of hops.
        hops = {"X-Sandbox-Hop-Limit": str(instance.hop_limit)}
        return Response(token, headers={"X-aws-ec2-metadata-token-ttl-seconds": seconds} | hops)

    def _tree(self, instance: ec2.Instance) -> dict[str, str | Callable[[], str]]:
        data, role = "/latest/meta-data", instance.role
        tree: dict[str, str | Callable[[], str]] = {
            f"{data}/instance-id": instance.id,
            f"{data}/instance-type": instance.type,
            f"{data}/ami-id": instance.image,
            f"{data}/local-ipv4": instance.private_ip,
            f"{data}/local-hostname": instance.hostname,
            f"{data}/hostname": instance.hostname,
            f"{data}/placement/region": instance.region,
            f"{data}/placement/availability-zone": instance.zone,
            "/latest/user-data": lambda: ec2.user_data(self._config, instance),
            "/latest/dynamic/instance-identity/document": lambda: json.dumps(
                {
                    "accountId": ACCOUNT,
                    "region": instance.region,
                    "availabilityZone": instance.zone,
                    "instanceId": instance.id,
                    "instanceType": instance.type,
                    "imageId": instance.image,
                    "privateIp": instance.private_ip,
                }
            ),
        }
        if role:
            tree[f"{data}/iam/security-credentials"] = role
            tree[f"{data}/iam/security-credentials/{role}"] = lambda: json.dumps(self._role(instance))
        return tree

    def _role(self, instance: ec2.Instance) -> dict[str, str]:
        now = datetime.datetime.now(datetime.UTC)
        with self._lock:
            known = self._credentials.get(instance.id)
            if known and known["until"] - now > SESSION / 4:
                return dict(known["answer"])
            sts = ec2.client(self._config, "sts")
            given = sts.assume_role(
                RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{instance.role}",
                RoleSessionName=instance.id,
                DurationSeconds=int(SESSION.total_seconds()),
            )["Credentials"]
            answer = {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "LastUpdated": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "AccessKeyId": given["AccessKeyId"],
                "SecretAccessKey": given["SecretAccessKey"],
                "Token": given["SessionToken"],
                "Expiration": (now + SESSION).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            self._credentials[instance.id] = {"until": now + SESSION, "answer": answer}
            return answer
