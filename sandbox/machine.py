"""moto as a machine that can be run again: the same requests in the same order get the same answers, byte for byte.

It runs in a process of its own (``python -m sandbox.machine``) with one thread, so that all that moto takes from
outside can be replaced for the whole process: randomness, clock, the order of sets, the environment. A lock around
moto's own random generator would not do: some services draw from ``os.urandom``, OpenSSL or ``random``, and a service
that a read is the first to touch makes its default resources then.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import importlib
import importlib.metadata
import io
import itertools
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from common.config import ACCOUNT, REGION
from common.errors import CommandError
from common.paths import ROOT

Environ = dict[str, Any]
# Where WSGI's environment keeps the spelling of headers with underscores.
NAMES = "moto.preserved_header_names"
VERSION = importlib.metadata.version("moto")


@dataclass(frozen=True)
class Answer:
    """What a request was answered: status line, headers and the whole body."""

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class Secret:
    """What belongs to an access key's id; a session has a token, and expires at a time in seconds since 1970."""

    secret: str
    token: str | None = None
    expires: float | None = None


@dataclass(frozen=True)
class Deleted:
    """What the APIs were told to delete, and did: the only reason to delete what belongs to it."""

    volumes: frozenset[str] = field(default_factory=frozenset)
    tags: frozenset[str] = field(default_factory=frozenset)


class Machine:
    """The machine's process, as its parent sees it. Not for two threads at once.

    Args:
        seed: what all randomness and every secret that moto makes comes from.
        registry: the password that ECR's API hands out.
        created: the time, in seconds since 1970, at which default resources were made.
    """

    def __init__(self, seed: str, created: float, registry: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sandbox.machine", str(theirs.fileno())],
                cwd=ROOT,
                env={
                    **{name: os.environ[name] for name in ("PATH", "PYTHONPYCACHEPREFIX") if name in os.environ},
                    "PYTHONHASHSEED": "0",
                    "LC_ALL": "C.UTF-8",
                    "TZ": "UTC",
                    "HOME": "/nonexistent",
                    "MOTO_AMIS_PATH": str(ROOT / "sandbox" / "amis.json"),
                    "MOTO_ACCOUNT_ID": ACCOUNT,
                    "MOTO_DISABLE_GLOBAL_CORS": "1",
                },
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._pipe = Connection(ours.detach())
        self._call("begin", seed, created, registry)

    def answer(self, environ: Environ, body: bytes, nonce: str, now: float) -> Answer:
        """What moto answers to a request at a time.

        Args:
            environ: WSGI's, as far as it is text.
            nonce: makes this request's randomness another one than that of the others.
        """
        answer: Answer = self._call("answer", environ, body, nonce, now)
        return answer

    def instances(self) -> set[str]:
        """Every EC2 instance that was ever made, the terminated ones too."""
        known: set[str] = self._call("instances")
        return known

    def deleted(self) -> Deleted:
        """What the APIs were told to delete so far."""
        deleted: Deleted = self._call("deleted")
        return deleted

    def secret(self, key: str) -> Secret | None:
        """What belongs to a key that the APIs handed out, to a user or with a role; None when they did not."""
        secret: Secret | None = self._call("secret", key)
        return secret

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.wait()

    def _call(self, name: str, *arguments: object) -> Any:
        try:
            self._pipe.send((name, arguments))
            return self._pipe.recv()
        except (EOFError, OSError):
            raise CommandError(
                "moto's process has ended: see the log's last lines; `make up` starts it again"
            ) from None


def _module(name: str) -> Any:
    """A module of moto's, to be changed."""
    return importlib.import_module(name)


class _Clock:
    """The time that moto sees: it stands still during a request, and whoever waits moves it on and does not wait."""

    def __init__(self) -> None:
        import time_machine

        self._traveller = time_machine.travel(0, tick=False).start()
        time.sleep = self._traveller.shift  # type: ignore[assignment]
        wait, wait_for = threading.Condition.wait, threading.Condition.wait_for

        def pass_time(condition: threading.Condition, timeout: float | None = None) -> bool:
            if timeout is None:
                return wait(condition)
            self._traveller.shift(max(timeout, 0))
            return wait(condition, 0)

        def pass_time_for(
            condition: threading.Condition, predicate: Callable[[], Any], timeout: float | None = None
        ) -> Any:
            if timeout is None:
                return wait_for(condition, predicate)
            self._traveller.shift(max(timeout, 0))
            return predicate()

        threading.Condition.wait = pass_time  # type: ignore[assignment,method-assign]
        threading.Condition.wait_for = pass_time_for  # type: ignore[assignment,method-assign]

    def set(self, now: float) -> None:
        self._traveller.move_to(now)


class _Chance:
    """Every source of randomness of this process, in one."""

    def __init__(self) -> None:
        self._bytes = random.Random()
        os.urandom = self._bytes.randbytes
        # The name under which `random.SystemRandom`, and so `secrets`, knows it.
        random._urandom = self._bytes.randbytes  # type: ignore[attr-defined]
        self._sources: list[random.Random] = [self._bytes, random._inst]

    def also(self, source: random.Random) -> None:
        self._sources.append(source)

    def seed(self, text: str) -> None:
        for source in self._sources:
            source.seed(hashlib.sha256(text.encode()).digest())

    @contextlib.contextmanager
    def seeded(self, text: str) -> Iterator[None]:
        """Another seed for as long as the block runs."""
        states = [source.getstate() for source in self._sources]
        self.seed(text)
        try:
            yield
        finally:
            for source, state in zip(self._sources, states, strict=True):
                source.setstate(state)


def _keys_by_chance() -> None:
    """Private keys from ``os.urandom``: OpenSSL's own generator takes no seed. Good enough for what is not AWS."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    def fermat(number: int) -> bool:
        return all(pow(base, number - 1, number) == 1 for base in (2, 3, 5))

    def prime(bits: int, exponent: int) -> int:
        small = [number for number in range(3, 2000, 2) if all(number % other for other in range(3, number, 2))]
        while True:
            number = int.from_bytes(os.urandom(bits // 8), "big") | 3 << bits - 2 | 1
            # Fermat's test: a random number of this size that passes it and is not prime is not to be expected.
            if (number - 1) % exponent and all(number % other for other in small) and fermat(number):
                return number

    def rsa_key(public_exponent: int, key_size: int, backend: object = None) -> rsa.RSAPrivateKey:
        p, q = prime(key_size // 2, public_exponent), prime(key_size // 2, public_exponent)
        d = pow(public_exponent, -1, (p - 1) * (q - 1))
        return rsa.RSAPrivateNumbers(
            *(p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)),
            rsa.RSAPublicNumbers(public_exponent, p * q),
        ).private_key()

    def ec_key(curve: ec.EllipticCurve, backend: object = None) -> ec.EllipticCurvePrivateKey:
        # Fewer bits than the curve's order has, so that it is always a private value.
        return ec.derive_private_key(int.from_bytes(os.urandom(curve.key_size // 8 - 1), "big") | 1, curve)

    rsa.generate_private_key = rsa_key
    ec.generate_private_key = ec_key

    class Ed25519:
        @staticmethod
        def generate() -> ed25519.Ed25519PrivateKey:
            return ed25519.Ed25519PrivateKey.from_private_bytes(os.urandom(32))

    _module("moto.ec2.utils").Ed25519PrivateKey = Ed25519


class _Moto:
    """What the process does; one method for each of ``Machine``'s calls."""

    def __init__(self) -> None:
        # In this order: moto's modules take names from what is replaced here when they are imported.
        self._clock, self._chance = _Clock(), _Chance()
        _keys_by_chance()
        base_backend = _module("moto.core.base_backend")
        # Numbers for what is made when a service is first needed: whose request that is must make no difference.
        base_backend.uuid4 = itertools.count().__next__
        from moto.moto_api._internal import mock_random
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self._chance.also(mock_random)
        self._application = DomainDispatcherApplication(create_backend_app)
        self._ec2 = _module("moto.ec2").ec2_backends[ACCOUNT]
        self._ecr = _module("moto.ecr").ecr_backends[ACCOUNT]
        self._volumes: set[str] = set()
        self._tags: set[str] = set()
        original = base_backend.AccountSpecificBackend.__getitem__

        def backend(backends: Any, region: str) -> Any:
            """A service's default resources do not depend on which request was the first to need them."""
            if dict.__contains__(backends, "aws" if region == "global" else region):
                return original(backends, region)
            now = time.time()
            self._clock.set(self._created)
            try:
                with self._chance.seeded(f"{self._seed} {backends.service_name} {backends.account_id} {region}"):
                    return original(backends, region)
            finally:
                self._clock.set(now)

        base_backend.AccountSpecificBackend.__getitem__ = backend

    def begin(self, seed: str, created: float, registry: str) -> None:
        responses = _module("moto.ecr.responses").ECRResponse
        self._seed, self._created = seed, created
        original = responses.get_authorization_token
        hours = datetime.timedelta(hours=12)
        token = base64.b64encode(f"AWS:{registry}".encode()).decode()

        def get_authorization_token(response: Any) -> Any:
            """moto's is the same everywhere, and has long expired."""
            result = original(response)
            for one in result.result["authorizationData"]:
                one.update(authorizationToken=token, expiresAt=datetime.datetime.now(datetime.UTC) + hours)
            return result

        responses.get_authorization_token = get_authorization_token

    def answer(self, environ: Environ, body: bytes, nonce: str, now: float) -> Answer:
        self._clock.set(now)
        self._chance.seed(f"{self._seed} request {nonce}")
        before = self._held()
        answer = self._ask(environ, body)
        for deleted, old, new in zip((self._volumes, self._tags), before, self._held(), strict=True):
            deleted |= old - new
            deleted -= new
        return answer

    def instances(self) -> set[str]:
        reservations = self._ec2[REGION].reservations.values()
        return {instance.id for reservation in reservations for instance in reservation.instances}

    def deleted(self) -> Deleted:
        return Deleted(frozenset(self._volumes), frozenset(self._tags))

    def secret(self, key: str) -> Secret | None:
        for role in _module("moto.sts").sts_backends[ACCOUNT]["aws"].assumed_roles:
            if role.access_key_id == key:
                return Secret(role.secret_access_key, role.session_token, role.expiration.timestamp())
        for user in _module("moto.iam").iam_backends[ACCOUNT]["aws"].users.values():
            for one in user.access_keys:
                if one.access_key_id == key and one.status == "Active":
                    return Secret(one.secret_access_key)
        return None

    def _held(self) -> tuple[set[str], set[str]]:
        """The EBS volumes that there are, and the tags of ECR's images as ``repository:tag``."""
        tags = {
            f"{name}:{tag}"
            for name, repository in self._ecr[REGION].repositories.items()
            for image in repository.images
            for tag in image.image_tags
        }
        return set(self._ec2[REGION].volumes), tags

    def _ask(self, environ: Environ, body: bytes) -> Answer:
        given: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: object = None) -> Callable[[bytes], None]:
            given[:] = [status, tuple(headers)]
            return lambda _: None

        whole = environ | {
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.url_scheme": "http",
            "wsgi.version": (1, 0),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        try:
            chunks = self._application(whole, start_response)
            try:
                content = b"".join(chunks)
            finally:
                getattr(chunks, "close", lambda: None)()
            return Answer(given[0], given[1], content)
        except Exception as error:
            # moto does not know the request, or fails at it: AWS would say the same.
            text = f"moto: {type(error).__name__}: {error}".encode()
            return Answer("500 INTERNAL SERVER ERROR", (("Content-Type", "text/plain"),), text)


def main() -> None:
    pipe = Connection(int(sys.argv[1]))
    moto = _Moto()
    while True:
        try:
            name, arguments = pipe.recv()
        except EOFError:
            # The parent has ended, in whatever way.
            return
        pipe.send(getattr(moto, name)(*arguments))


if __name__ == "__main__":
    # Under the name that the parent knows, so that what is sent is of its classes.
    from sandbox import machine

    machine.main()
