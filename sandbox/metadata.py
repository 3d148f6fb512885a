"""The instance metadata service, version 2 only: who a host is, and its role's credentials.

Source: "Use the Instance Metadata Service to access instance metadata" in the EC2 user guide. A host's address tells
which instance asks; the host image forwards its own link-local address to here.
"""

from __future__ import annotations

import datetime
import json
import secrets
import threading

from werkzeug.wrappers import Request, Response

from sandbox import ec2
from sandbox.config import ACCOUNT, REGION, Config

SESSION = datetime.timedelta(hours=1)


class Metadata:
    """WSGI application that answers the hosts of one sandbox."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._tokens: set[str] = set()
        self._credentials: dict[str, dict] = {}
        self._lock = threading.Lock()

    def __call__(self, environ, start_response):
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if request.path == "/latest/api/token":
            if request.method != "PUT":
                return Response(status=405)
            token = secrets.token_urlsafe(32)
            with self._lock:
                self._tokens.add(token)
            seconds = request.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "21600")
            return Response(token, headers={"X-aws-ec2-metadata-token-ttl-seconds": seconds})
        if request.headers.get("X-aws-ec2-metadata-token") not in self._tokens:
            return Response("the instance requires IMDSv2: PUT /latest/api/token first\n", status=401)
        instance = next((i for i in ec2.instances(self._config) if i.private_ip == request.remote_addr), None)
        if instance is None:
            return Response("no running instance has this address\n", status=404)
        answer = self._tree(instance).get(request.path.rstrip("/"))
        if answer is None:
            return Response(status=404)
        content = answer() if callable(answer) else answer
        return Response(content) if content else Response(status=404)

    def _tree(self, instance: ec2.Instance) -> dict:
        data, role = "/latest/meta-data", instance.role
        tree = {
            f"{data}/instance-id": instance.id,
            f"{data}/instance-type": instance.type,
            f"{data}/ami-id": instance.image,
            f"{data}/local-ipv4": instance.private_ip,
            f"{data}/local-hostname": instance.hostname,
            f"{data}/hostname": instance.hostname,
            f"{data}/placement/region": REGION,
            f"{data}/placement/availability-zone": instance.zone,
            "/latest/user-data": lambda: ec2.user_data(self._config, instance),
            "/latest/dynamic/instance-identity/document": lambda: json.dumps(
                {
                    "accountId": ACCOUNT,
                    "region": REGION,
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

    def _role(self, instance: ec2.Instance) -> dict:
        now = datetime.datetime.now(datetime.UTC)
        with self._lock:
            known = self._credentials.get(instance.id)
            if known and known["until"] - now > SESSION / 4:
                return known["answer"]
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
