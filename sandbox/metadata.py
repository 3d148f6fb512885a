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
from sandbox import ec2, overview

SESSION = datetime.timedelta(hours=1)


class Metadata:
    """WSGI application that answers the hosts of one sandbox.

    Args:
        count: returns how many changing requests the APIs have had. As long as it stays the same, so does what they say
            of an instance, and they are not asked again.
    """

    def __init__(self, config: Config, count: Callable[[], int]) -> None:
        self._config, self._count = config, count
        # Address → the count, and what the APIs said: the instances, each with its role.
        self._known: dict[str, tuple[int, list[tuple[ec2.Instance, str]]]] = {}
        # Token → its instance and its expiry.
        self._tokens: dict[str, tuple[str, float]] = {}
        self._credentials: dict[tuple[str, str], dict[str, Any]] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if request.path == overview.PATH:
            told = overview.tell(self._config, request.headers.get(overview.PROOF, ""))
            return Response(told, content_type="application/json") if told else Response(status=403)
        instance, role = self._asking(request) or (None, "")
        if instance is None or "Origin" in request.headers:
            return Response("this is for the sandbox's hosts, at 169.254.169.254\n", status=403)
        if request.path == "/latest/api/token":
            return self._token(request, instance)
        holder, until = self._tokens.get(request.headers.get("X-aws-ec2-metadata-token", ""), ("", 0.0))
        if holder != instance.id or until < time.monotonic():
            return Response("the instance requires IMDSv2: PUT /latest/api/token first\n", status=401)
        answer = self._tree(instance, role).get(request.path.rstrip("/"))
        if answer is None:
            return Response(status=404)
        content = answer() if callable(answer) else answer
        return Response(content) if content else Response(status=404)

    def _asking(self, request: Request) -> tuple[ec2.Instance, str] | None:
        """The instance that asks, by its address and by the proof that only its root has; and its role."""
        own, shown = keys.load(self._config.state), request.headers.get(overview.PROOF, "")
        for instance, role in self._at(str(request.remote_addr)) if shown else []:
            if hmac.compare_digest(own.proof(instance.id).encode(), shown.encode()):
                return instance, role
        return None

    def _at(self, address: str) -> list[tuple[ec2.Instance, str]]:
        """The instances with an address, each with its role."""
        # Read before asking: if something changes in between, the count differs, and the next request asks again.
        count = self._count()
        known, found = self._known.get(address, (-1, []))
        if known != count:
            found = [(one, ec2.role(self._config, one)) for one in ec2.instances(self._config, address)]
            self._known[address] = count, found
        return found

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

    def _tree(self, instance: ec2.Instance, role: str) -> dict[str, str | Callable[[], str]]:
        data = "/latest/meta-data"
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
            tree[f"{data}/iam/security-credentials/{role}"] = lambda: json.dumps(self._session(instance, role))
        return tree

    def _session(self, instance: ec2.Instance, role: str) -> dict[str, str]:
        now = datetime.datetime.now(datetime.UTC)
        with self._lock:
            known = self._credentials.get((instance.id, role))
            if known and known["until"] - now > SESSION / 4:
                return dict(known["answer"])
            sts = ec2.client(self._config, "sts")
            given = sts.assume_role(
                RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}",
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
            self._credentials[instance.id, role] = {"until": now + SESSION, "answer": answer}
            return answer
