"""What is removed and what is not, by the calls to a fake Docker."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common import docker, files, keys, ownership
from common import images as local_images
from common.config import Config
from common.errors import CommandError
from sandbox import __main__ as command
from sandbox import ec2, elb, hosts, images, registry
from sandbox.machine import Deleted
from sandbox.server import Follower

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(images, "chosen", lambda _: {"host": "image"})
    return Config(name="sandbox-of-units", state=tmp_path)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What Docker was told; it answers nothing."""
    told: list[tuple[str, ...]] = []

    def tell(*arguments: str, **_: object) -> str:
        told.append(arguments)
        return ""

    for module in (hosts, ownership, command, images, local_images):
        monkeypatch.setattr(module, "docker", tell, raising=False)
        monkeypatch.setattr(module, "inspect", lambda kind, name: {"Id": name, "Containers": {}, "Labels": {}})
    return told


def there(monkeypatch: pytest.MonkeyPatch, *identities: str) -> None:
    """Hosts that run."""
    found = {one: {"State": {"Status": "running", "Running": True}, "Name": f"/{one}"} for one in identities}
    monkeypatch.setattr(hosts, "names", lambda _: found)


def ec2_says(monkeypatch: pytest.MonkeyPatch, *terminated: str) -> None:
    """EC2 lists no instance but those that it was told to terminate."""
    monkeypatch.setattr(ec2, "instances", lambda _: [])
    monkeypatch.setattr(ec2, "terminated", lambda _: set(terminated))


def removed(calls: list[tuple[str, ...]]) -> list[str]:
    return [call[-1] for call in calls if call[0] == "rm"]


def test_empty_list_removes_no_host(config: Config, calls: list[tuple[str, ...]], monkeypatch: Any) -> None:
    there(monkeypatch, "i-1", "i-2")
    ec2_says(monkeypatch)
    assert hosts.sync(config, "image") == []
    assert calls == []


def test_terminated_host_is_removed(config: Config, calls: list[tuple[str, ...]], monkeypatch: Any) -> None:
    there(monkeypatch, "i-1", "i-2")
    ec2_says(monkeypatch, "i-1", "i-0")
    assert hosts.sync(config, "image") == ["i-1: terminated, its host is removed"]
    assert removed(calls) == ["sandbox-of-units-i-1"]


def test_deleted_volume_is_removed_once(config: Config, calls: list[tuple[str, ...]], monkeypatch: Any) -> None:
    there(monkeypatch)
    ec2_says(monkeypatch)
    deleted: set[str] = set()
    for module, function in ((registry, "sync"), (registry, "tags"), (elb, "sync")):
        monkeypatch.setattr(module, function, lambda *_: {})
    machine = SimpleNamespace(deleted=lambda: Deleted(frozenset(deleted)), certificate=str)
    follower = Follower(config, cast(Any, SimpleNamespace(machine=machine)))
    for one in ("", "vol-1", "", "vol-2"):
        deleted |= {one} - {""}
        list(follower.follow(announced=True))
    assert [call[-1] for call in calls if "sandbox-detach" in call] == ["vol-1", "vol-2"]


@pytest.mark.parametrize(
    "known, count, text",
    [({"i-1"}, 9, ""), (set(), 9, "host i-1"), ({"i-2"}, 9, "host i-1"), ({"i-1"}, 0, "volume sandbox-of-units-ebs")],
)
def test_hosts_that_the_apis_do_not_know(
    config: Config, calls: list[tuple[str, ...]], monkeypatch: Any, known: set[str], count: int, text: str
) -> None:
    there(monkeypatch, "i-1")
    if not text:
        hosts.recognise(config, known, count)
        return
    with pytest.raises(CommandError, match=f"do not know {text}.*nothing was changed or removed$"):
        hosts.recognise(config, known, count)
    assert calls == []


@pytest.mark.parametrize(
    "deleted, expected",
    [
        ((), []),
        (("api:old",), ["api:old"]),
        (("api:new",), []),
        (("eu-west-1/api:old",), ["eu-west-1/api:old"]),
    ],
)
def test_image_is_deleted_when_the_api_was_told(
    config: Config, monkeypatch: Any, deleted: tuple[str, ...], expected: list[str]
) -> None:
    """All tags are in the store and unknown to the APIs; the old ones were listed once, the new one was just pushed."""
    gone: list[str] = []
    put: list[str] = []
    monkeypatch.setattr(ec2, "regions", lambda _: ["us-east-1", "eu-west-1"])
    monkeypatch.setattr(registry, "tags", lambda _: {"api": ["old", "new"], "eu-west-1/api": ["old"]})
    monkeypatch.setattr(registry, "delete", lambda _, name, tag, others: gone.append(f"{name}:{tag}"))
    monkeypatch.setattr(registry, "manifest", lambda *_: ("{}", "kind"))

    class Client:
        def __init__(self, region: str) -> None:
            self._region = region

        def describe_repositories(self) -> Any:
            return {"repositories": [{"repositoryName": "api"}]}

        def get_paginator(self, _: str) -> Any:
            return self

        def paginate(self, **_: Any) -> Any:
            return [{"imageIds": []}]

        def put_image(self, *, repositoryName: str, imageTag: str, **_: Any) -> None:
            put.append(f"{self._region} {repositoryName}:{imageTag}")

    monkeypatch.setattr(registry, "client", lambda _, __, region: Client(region))
    files.write(config.state / "ecr-listed.json", json.dumps(["api:old", "eu-west-1/api:old"]))
    registry.sync(config, deleted)
    assert gone == expected
    every = {"api:old": "us-east-1 api:old", "api:new": "us-east-1 api:new", "eu-west-1/api:old": "eu-west-1 api:old"}
    assert sorted(put) == sorted(where for tag, where in every.items() if tag not in expected)


def test_state_that_is_gone(config: Config, calls: list[tuple[str, ...]], monkeypatch: Any) -> None:
    there(monkeypatch, "i-1")
    monkeypatch.setattr(ownership, "left_over", lambda _: True)
    with pytest.raises(CommandError, match="but i-1 still exists.*nothing was changed or removed$"):
        command.start(config)
    assert calls == []


def test_engine_out_of_reach(tmp_path: Path) -> None:
    """`down` says so and forgets nothing; what cannot be asked is not taken for absent."""
    keys.make(tmp_path)
    environment = {"DOCKER_HOST": "unix:///nowhere.sock", "SANDBOX_STATE": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", "down"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("✗ docker") and done.stderr.count("\n") == 1
    assert keys.load(tmp_path) != keys.NONE


@pytest.mark.parametrize(
    "text",
    ["Error: No such container: x", "Error response from daemon: network x not found", "error: no such object: x"],
)
def test_absent(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    def absent(*_: str) -> str:
        raise CommandError(text)

    monkeypatch.setattr(docker, "docker", absent)
    assert docker.inspect("container", "x") is None


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> set[str]:
    """The names of the images that the engine has; none at first."""
    has: set[str] = set()
    monkeypatch.setattr(local_images, "BUILT", tmp_path / "built")
    monkeypatch.setattr(local_images, "LOCKS", tmp_path / "building")
    monkeypatch.setattr(local_images, "inspect", lambda _, name: {"Id": name} if name in has else None)
    return has


def test_two_sandboxes_build_an_image_once(engine: set[str]) -> None:
    """The second one waits for the first one's, and goes on with another image meanwhile."""
    made: list[str] = []
    begun, others = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert others.wait(10)
        made.append("slow")
        engine.add("host:1")

    with ThreadPoolExecutor() as pool:
        first = pool.submit(local_images.ensure_built, "host:1", slow)
        assert begun.wait(10)
        second = pool.submit(local_images.ensure_built, "host:1", lambda: made.append("again"))
        local_images.ensure_built("api/a:2", lambda: made.append("other"))
        others.set()
        first.result(10)
        second.result(10)
    assert made == ["other", "slow"]


def test_only_what_this_clone_built(calls: list[tuple[str, ...]], engine: set[str], tmp_path: Path) -> None:
    for image in ("base", "host:1", "host:1", "api:2"):
        local_images.ensure_built(image, lambda: None)
    local_images.remove_all()
    assert [call[1:] for call in calls if call[0] == "rmi"] == [("api:2",), ("host:1",), ("base",)]
    assert not (tmp_path / "built").exists()
