"""Authenticates requests to the AWS APIs: Signature Version 4, verified with botocore's signer; AWS's own errors.

Source: "AWS Signature Version 4 for API requests" in the IAM user guide, and "Authenticating Requests" in S3's API
reference for unsigned bodies. Presigned URLs are refused.
"""

import datetime
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sandbox.machine import NAMES, Answer, Environ, Secret

SKEW = datetime.timedelta(minutes=15)
TIME = "%Y%m%dT%H%M%SZ"
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/(\d{8})/([^/,\s]+)/([^/,\s]+)/aws4_request,\s*"
    r"SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})\s*"
)
S3 = {"s3", "s3-outposts"}
UNSIGNED = {"UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}

# Fault → the error's code and message. AWS's codes differ by service; clients do not need that.
FAULTS = {
    "missing": ("MissingAuthenticationToken", 'the request is not signed; `eval "$(make -s env)"` sets the key'),
    "unknown": (
        "InvalidClientTokenId",
        'the key is not one of this sandbox; `eval "$(make -s env)"` sets its key',
    ),
    "expired": ("ExpiredToken", "the session has expired"),
    "skewed": ("RequestTimeTooSkewed", "the request's time differs from the sandbox's by more than fifteen minutes"),
    "wrong": ("SignatureDoesNotMatch", "the signature does not match the request and the secret key"),
}


class Refused(Exception):
    """A request that gets one of AWS's errors."""

    def __init__(self, what: str, service: str = "") -> None:
        super().__init__(what)
        self.what, self.service = what, service


class _Signer(SigV4Auth):
    """botocore's signer, for a request that is already signed: the headers and the body's digest are given."""

    def headers_to_sign(self, request: Any) -> Any:
        return request.headers

    def payload(self, request: Any) -> str:
        return str(request.context["payload"])


class _S3Signer(_Signer, S3SigV4Auth):
    def _normalize_url_path(self, path: str) -> str:
        return path


def verify(environ: Environ, body: bytes, secret: Callable[[str], Secret | None]) -> str:
    """Verifies a request's signature; returns the service that it is for.

    Args:
        secret: returns the secret of a key's id.

    Raises:
        Refused: the signature is missing, wrong or expired.
    """
    found = AUTHORIZATION.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
    if not found:
        raise Refused("missing")
    key, date, region, service, names, value = found.groups()
    headers, signed = _headers(environ), names.split(";")
    time = headers.get("x-amz-date", "")
    try:
        signed_at = datetime.datetime.strptime(time, TIME).replace(tzinfo=datetime.UTC)
    except ValueError:
        raise Refused("missing", service) from None
    known = secret(key)
    if not known or not hmac.compare_digest(
        (known.token or "").encode(), headers.get("x-amz-security-token", "").encode()
    ):
        raise Refused("unknown", service)
    if "host" not in signed or not set(signed) <= headers.keys() or not time.startswith(date):
        raise Refused("wrong", service)
    request = AWSRequest(environ["REQUEST_METHOD"], f"http://{headers['host']}{environ.get('RAW_URI', '')}")
    for name in signed:
        request.headers[name] = headers[name]
    request.context.update(timestamp=time, payload=_payload(service, headers, body))
    kind = _S3Signer if service in S3 else _Signer
    signer = kind(Credentials(key, known.secret), service, region)
    expected = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    if not hmac.compare_digest(expected, value):
        raise Refused("wrong", service)
    now = datetime.datetime.now(datetime.UTC)
    if known.expires is not None and now.timestamp() > known.expires:
        raise Refused("expired", service)
    if abs(signed_at - now) > SKEW:
        raise Refused("skewed", service)
    return service


def refusal(environ: Environ, body: bytes, refused: Refused) -> Answer:
    """The error, in the format of the requested service."""
    code, text = FAULTS[refused.what]
    if environ.get("HTTP_X_AMZ_TARGET") or "json" in environ.get("CONTENT_TYPE", ""):
        headers = (("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", code))
        return Answer("403 Forbidden", headers, json.dumps({"__type": code, "message": text}).encode())
    error = f"<Error><Code>{code}</Code><Message>{escape(text)}</Message></Error>"
    form = b"Action=" in body or "Action=" in environ.get("QUERY_STRING", "")
    if refused.service == "ec2" or not refused.service and form and b"2016-11-15" in body:
        error = f"<Response><Errors>{error}</Errors><RequestID>sandbox</RequestID></Response>"
    elif refused.service not in {"", "s3"} or form:
        error = f"<ErrorResponse>{error}<RequestId>sandbox</RequestId></ErrorResponse>"
    content = f'<?xml version="1.0" encoding="UTF-8"?>\n{error}'
    return Answer("403 Forbidden", (("Content-Type", "text/xml"),), content.encode())


def _headers(environ: Environ) -> dict[str, str]:
    """The headers as they were signed, with lower-case names."""
    original = environ.get(NAMES, {})
    headers = {
        original.get(name, name[5:].replace("_", "-")).lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.lower().replace("_", "-")] = str(environ[name])
    return headers


def _payload(service: str, headers: dict[str, str], body: bytes) -> str:
    """The body's digest as it was signed.

    Raises:
        Refused: the body has another digest.
    """
    actual = hashlib.sha256(body).hexdigest()
    given = headers.get("x-amz-content-sha256")
    if service in S3 and given in UNSIGNED:
        return given
    # Bodies with signed chunks are not supported: the header then is not the body's digest.
    if given is not None and given != actual:
        raise Refused("wrong", service)
    return actual
