"""Deterministic moto: the same requests in the same order get the same answers, byte for byte.

It runs in a process of its own (``python -m sandbox.machine``) with a single thread, so that all of moto's inputs can
be replaced for the whole process: randomness, clock, order of sets, environment. A lock around moto's random generator
would not suffice: some services use ``os.urandom``, OpenSSL or ``random``, and each creates its default resources at
its first request, which may be a read.
"""

import base64
import contextlib
import datetime
import gc
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
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from common.config import ACCOUNT, stored
from common.errors import CommandError
from common.paths import ROOT

Environ = dict[str, Any]
# Key in WSGI's environment for the original spelling of headers with underscores.
NAMES = "moto.preserved_header_names"
VERSION = importlib.metadata.version("moto")


@dataclass(frozen=True)
class Answer:
    """An answer: status line, headers and the whole body."""

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class Secret:
    """The secret of an access key. A session also has a token and an expiry in seconds since 1970."""

    secret: str
    token: str | None = None
    expires: float | None = None


@dataclass(frozen=True)
class Deleted:
    """What was deleted through the APIs. Nothing else may be deleted."""

    volumes: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()


class Machine:
    """The machine's process, as seen by its parent.

    Attributes:
        lock: held during each call; its holder may call, and keeps others from calling in between.

    Args:
        seed: the source of all randomness and of every secret that moto creates.
        registry: the password that ECR's API returns.
        created: the creation time of default resources, in seconds since 1970.
    """

    def __init__(self, seed: str, created: float, registry: str) -> None:
        self.lock = threading.RLock()
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
        """moto's answer to a request at a given time.

        Args:
            environ: the text values of WSGI's environment.
            nonce: makes this request's randomness differ from that of others.
        """
        answer: Answer = self._call("answer", environ, body, nonce, now)
        return answer

    def instances(self) -> set[str]:
        """Every EC2 instance that was ever created, including terminated ones."""
        known: set[str] = self._call("instances")
        return known

    def deleted(self) -> Deleted:
        """What was deleted through the APIs so far."""
        deleted: Deleted = self._call("deleted")
        return deleted

    def secret(self, key: str) -> Secret | None:
        """The secret of a key of a user or a role; None if the APIs did not create it."""
        secret: Secret | None = self._call("secret", key)
        return secret

    def certificate(self, arn: str) -> str:
        """A certificate of ACM with its chain and private key, in PEM; empty if there is none with this ARN."""
        content: str = self._call("certificate", arn)
        return content

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.wait()

    def _call(self, name: str, *arguments: object) -> Any:
        try:
            with self.lock:
                self._pipe.send((name, arguments))
                return self._pipe.recv()
        except (EOFError, OSError):
            raise CommandError("moto's process has ended: see the end of the log; `make up` restarts it") from None


def _module(name: str) -> Any:
    """A module of moto, to be patched."""
    return importlib.import_module(name)


class _Clock:
    """The time that moto sees. It stands still during a request; a sleep advances it and returns at once."""

    def __init__(self) -> None:
        import time_machine

        self._traveller = time_machine.travel(0, tick=False).start()
        time.sleep = self._traveller.shift  # type: ignore[assignment]

        def wait_for(_: threading.Condition, predicate: Callable[[], Any], timeout: float = 0) -> Any:
            """SQS waits for a message. In a single thread none arrives meanwhile."""
            self._traveller.shift(timeout)
            return predicate()

        threading.Condition.wait_for = wait_for  # type: ignore[assignment,method-assign]

    def set(self, now: float) -> None:
        self._traveller.move_to(now)


class _Chance:
    """All sources of randomness of this process."""

    def __init__(self) -> None:
        self._bytes = random.Random()
        os.urandom = self._bytes.randbytes
        # Used by `random.SystemRandom`, and so by `secrets`.
        random._urandom = self._bytes.randbytes  # type: ignore[attr-defined]
        self._sources: list[random.Random] = [self._bytes, random._inst]

    def also(self, source: random.Random) -> None:
        self._sources.append(source)

    def seed(self, text: str) -> None:
        for source in self._sources:
            source.seed(hashlib.sha256(text.encode()).digest())

    @contextlib.contextmanager
    def seeded(self, text: str) -> Iterator[None]:
        """Uses another seed while the block runs."""
        states = [source.getstate() for source in self._sources]
        self.seed(text)
        try:
            yield
        finally:
            for source, state in zip(self._sources, states, strict=True):
                source.setstate(state)


def _keys_by_chance() -> None:
    """Makes private keys from ``os.urandom``, since OpenSSL's generator takes no seed. Fit for a sandbox only."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    def fermat(number: int) -> bool:
        return all(pow(base, number - 1, number) == 1 for base in (2, 3, 5))

    def prime(bits: int, exponent: int) -> int:
        small = [number for number in range(3, 2000, 2) if all(number % other for other in range(3, number, 2))]
        while True:
            number = int.from_bytes(os.urandom(bits // 8), "big") | 3 << bits - 2 | 1
            # Fermat's test: for random numbers of this size, false positives are negligible.
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
        # Fewer bits than the curve's order, so that the value is always valid.
        return ec.derive_private_key(int.from_bytes(os.urandom(curve.key_size // 8 - 1), "big") | 1, curve)

    rsa.generate_private_key = rsa_key
    ec.generate_private_key = ec_key

    class Ed25519:
        @staticmethod
        def generate() -> ed25519.Ed25519PrivateKey:
            return ed25519.Ed25519PrivateKey.from_private_bytes(os.urandom(32))

    _module("moto.ec2.utils").Ed25519PrivateKey = Ed25519


def detach_like_ec2() -> None:
    """Makes moto answer the second of two DetachVolume requests with EC2's error.

    Terraform's client repeats a request that got no answer. The provider takes EC2's error for a detached volume, and
    fails with moto's.
    """

    def available(volume: str, _: str) -> Any:
        text = f"Volume '{volume}' is in the 'available' state."
        return _module("moto.ec2.exceptions").EC2ClientError("IncorrectState", text)

    _module("moto.ec2.models.elastic_block_store").InvalidVolumeAttachmentError = available


class _Moto:
    """Runs in the process; has one method for each call of ``Machine``."""

    def __init__(self) -> None:
        # The order matters: moto's modules import the names that are replaced here.
        self._clock, self._chance = _Clock(), _Chance()
        _keys_by_chance()
        base_backend = _module("moto.core.base_backend")
        # Default resources get numbers that do not depend on which request creates them.
        base_backend.uuid4 = itertools.count().__next__
        from moto.moto_api._internal import mock_random
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        detach_like_ec2()
        zones = _module("moto.ec2.models.availability_zones_and_regions").RegionsAndZonesBackend
        every = zones.describe_regions

        def in_use(backend: Any, names: list[str] | None = None) -> Any:
            """Lists the regions that had a request. To look in the others would make moto create them."""
            return [one for one in every(backend, names) if one.name in {*self._ec2, *self._ecr}]

        zones.describe_regions = in_use
        self._chance.also(mock_random)
        self._application = DomainDispatcherApplication(create_backend_app)
        self._ec2 = _module("moto.ec2").ec2_backends[ACCOUNT]
        self._ecr = _module("moto.ecr").ecr_backends[ACCOUNT]
        self._volumes: set[str] = set()
        self._tags: set[str] = set()
        original = base_backend.AccountSpecificBackend.__getitem__

        def backend(backends: Any, region: str) -> Any:
            """Makes a service's default resources independent of the request that first needs them."""
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
            """Replaces moto's token, which is always the same and has long expired."""
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
        reservations = [one for backend in self._ec2.values() for one in backend.reservations.values()]
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

    def certificate(self, arn: str) -> str:
        region = arn.split(":")[3]
        held = _module("moto.acm").acm_backends[ACCOUNT][region]._certificates.get(arn)
        return b"\n".join((held.cert, held.chain, held.key)).decode() if held else ""

    def _held(self) -> tuple[set[str], set[str]]:
        """All EBS volumes, and the tags of ECR's images as ``repository:tag`` of the store."""
        tags = {
            f"{stored(region, name)}:{tag}"
            for region, backend in self._ecr.items()
            for name, repository in backend.repositories.items()
            for image in repository.images
            for tag in image.image_tags
        }
        return {volume for backend in self._ec2.values() for volume in backend.volumes}, tags

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
            # moto does not support the request, or failed.
            text = f"moto: {type(error).__name__}: {error}".encode()
            return Answer("500 INTERNAL SERVER ERROR", (("Content-Type", "text/plain"),), text)


def main() -> None:
    # Reading the services' descriptions makes millions of objects that stay: at the usual threshold, a quarter of the
    # start is a search for garbage among them.
    gc.set_threshold(100_000)
    pipe = Connection(int(sys.argv[1]))
    moto = _Moto()
    while True:
        try:
            name, arguments = pipe.recv()
        except EOFError:
            # The parent has ended.
            return
        pipe.send(getattr(moto, name)(*arguments))


if __name__ == "__main__":
    # Imported by name, so that pickled objects have the parent's classes.
    from sandbox import machine

    machine.main()
