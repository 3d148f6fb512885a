"""A stack without Docker: containers, images and an edge in memory, with real files and records."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from comentarios_release import files, lock
from comentarios_release.__main__ import Command, parse
from comentarios_release.edge import Edge
from comentarios_release.engine import Container, Engine
from comentarios_release.records import Record, Records
from comentarios_release.rollout import PORTS, Rollout
from comentarios_release.settings import ReleaseError, Settings
from comentarios_release.watch import Sample

REPOSITORY = "registry/comentarios-api"
EDGE_FILE = "haproxy/haproxy.cfg"
SETTINGS = ("docker-compose.yml", "docker-compose.override.yml")


class Killed(BaseException):
    """The program is gone at this point, as by SIGKILL: nothing in it may catch this."""


class Points:
    """Counts where a run can be interrupted, and interrupts it at one of them.

    Points are before and after whatever changes the engine or the edge, each wait, and each change of a file, which
    Python's audit events tell of.
    """

    _current: Points | None = None
    _hooked = False

    def __init__(
        self,
        at: int | None = None,
        how: Callable[[], None] | None = None,
        before: dict[int, Callable[[], None]] | None = None,
    ):
        self.passed: list[str] = []
        self._at = at
        self._what = before or {}
        if at is not None:
            self._what[at] = how or self._kill
        self._dead = False

    def __call__(self, name: str) -> None:
        if self._dead:
            # Nothing cleans up after SIGKILL.
            raise Killed
        self.passed.append(name)
        if what := self._what.get(len(self.passed) - 1):
            what()

    @property
    def interrupted(self) -> bool:
        return self._at is not None and len(self.passed) > self._at

    @contextmanager
    def watching(self) -> Iterator[None]:
        if not Points._hooked:
            # One that stays: Python does not take hooks back.
            sys.addaudithook(Points._on_event)
            Points._hooked = True
        Points._current = self
        try:
            yield
        finally:
            Points._current = None

    @classmethod
    def _on_event(cls, event: str, arguments: tuple[Any, ...]) -> None:
        if cls._current is not None and event in {"os.rename", "os.remove", "os.rmdir"}:
            cls._current(f"{event} {Path(str(arguments[0])).name}")

    def _kill(self) -> None:
        self._dead = True
        raise Killed


def fail() -> None:
    """Something goes wrong once: the network, or the engine that is just being restarted."""
    raise ReleaseError("it did not work this time")


def ask_to_end() -> None:
    """What `systemctl stop` does."""
    signal.raise_signal(signal.SIGTERM)


def receiver(name: str) -> dict[str, str]:
    """Alertmanager's files with a receiver whose secret is in a file of its own."""
    return {
        "alertmanager/alertmanager.yml": f"url_file: /etc/alertmanager/secrets/url-{name}",
        f"alertmanager/secrets/url-{name}": f"https://{name}.example.com",
    }


class Beginning(Command):
    """The program as a release finds it that has just begun: nobody waits for its end."""

    def wait(self, number: int) -> dict[str, Any]:
        return {}


@dataclass
class World:
    """What outlives the program: the engine's things, the edge, the host's files, and the time.

    Attributes:
        registry: images that can be pulled; images: those that are here.
        loaded: what each service has read of its configuration, by the service's name.
        behaves: how an image behaves, by its tag: `exits`, `unready`, `restarts`, `fails`, `dies` or `stalls` when it
            serves; none of them is a good one.
        deaf: identities that the edge does not reach.
        broken_up: tags with which Compose cannot bring the other services up.
        refused: what a service's own check says against its files, by the service's name.
        refuses: whether Prometheus does not take a configuration that its check took.
        counts: whether the edge's counters can be read.
        meanwhile: what happens while the program sleeps, one at each time.
        sealed: databases that take no writes, by the names of their secrets; empty for SQLite's.
        waiting: whether writes wait at the edge.
        unmovable: the step of a move that fails.
    """

    folder: Path
    settings: Settings
    containers: list[Container] = field(default_factory=list)
    images: set[str] = field(default_factory=set)
    registry: set[str] = field(default_factory=set)
    loaded: dict[str, str] = field(default_factory=dict)
    behaves: dict[str, str] = field(default_factory=dict)
    deaf: set[str] = field(default_factory=set)
    broken_up: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    refuses: bool = False
    target: str | None = None
    counted: Sample = field(default_factory=Sample)
    counts: bool = True
    now: float = 0.0
    made: int = 0
    points: Points = field(default_factory=Points)
    done: list[str] = field(default_factory=list)
    meanwhile: list[Callable[[], object]] = field(default_factory=list)
    sealed: set[str] = field(default_factory=set)
    waiting: bool = False
    unmovable: str = ""

    @classmethod
    def under(cls, folder: Path) -> World:
        stack = folder / "stack"
        (stack / "releases").mkdir(parents=True)
        return cls(folder, Settings(stack_dir=stack, textfile=folder / "metrics" / "release.prom"))

    # --- the program over it

    @property
    def records(self) -> Records:
        return Records(self.settings.releases)

    @contextmanager
    def held(self, owner: str) -> Iterator[None]:
        """Somebody else has the lock: another open file, as in another process."""
        with lock.hold(self.settings.releases, owner):
            yield

    def rollout(self, record: Record) -> Rollout:
        engine, edge = FakeEngine(self), FakeEdge(self)
        return Rollout(self.settings, record, engine, edge, probe=self.probe, clock=lambda: self.now, sleep=self.sleep)

    def command(self, *given: str) -> Any:
        """What a verb returns."""
        return self._verb(parse(given))

    def begun(self, *given: str) -> Any:
        """What a verb returns that does not wait for the end of the release that it begins."""
        return self._verb(parse(given), Beginning)

    def wait(self, number: int) -> Any:
        """What a verb does that has begun this release."""
        return self._command(Command, argparse.Namespace()).wait(number)

    def _verb(self, arguments: argparse.Namespace, kind: type[Command] = Command) -> Any:
        return getattr(self._command(kind, arguments), arguments.verb)()

    def _command(self, kind: type[Command], arguments: argparse.Namespace) -> Command:
        return kind(
            self.settings,
            arguments,
            FakeEngine(self),
            self.rollout,
            systemctl=self.systemctl,
            sleep=self.sleep,
        )

    def systemctl(self, *arguments: str) -> str:
        """The unit: it ends at once when it is started without waiting, so that a test says when it works."""
        self.done.append(" ".join(("systemctl", *arguments)))
        if arguments[0] == "start" and "--no-block" not in arguments:
            self.work()
        return "inactive" if arguments[0] == "is-active" else ""

    def work(self) -> None:
        # Without argparse, which takes longer than all the rest.
        self._verb(argparse.Namespace(verb="work"))

    def interrupted(self, points: Points) -> bool:
        """Runs the unit until it ends by itself or at a point; whether it came so far."""
        self.points = points
        try:
            with points.watching():
                self.work()
        except (Killed, ReleaseError):
            assert points.interrupted, points.passed[-3:]
        self.points = Points()
        return points.interrupted

    def count(self) -> list[str]:
        """The points of the release that has begun, found out in a copy."""
        points = Points()
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as beside:
            copy_of(self, Path(beside) / "copy").interrupted(points)
        return points.passed

    # --- what is wanted

    def stage(
        self,
        run: str,
        edge: str = "",
        rules: str | None = None,
        replicas: int = 2,
        edge_image: str = "edge:1",
        others: dict[str, str] | None = None,
    ) -> None:
        """What the roles leave: of role stack everything, of role prometheus the rules, and other files."""
        services = {
            "api": {"image": "", "deploy": {"replicas": replicas}},
            "edge": {"image": edge_image, "user": "10003:10003"},
            "prometheus": {"image": "prometheus:1"},
        }
        wanted = {
            SETTINGS[0]: json.dumps({"services": services}),
            SETTINGS[1]: "services: {}",
            ".env": f"# made by Ansible\nEDGE_IMAGE={edge_image}\n",
            EDGE_FILE: f"configuration of the edge{edge}",
        }
        if rules is not None:
            wanted["prometheus/rules.yml"] = rules
        for name, text in (wanted | (others or {})).items():
            files.write(self.settings.staged(run) / name, text)

    def apply(self, tag: str, *more: str, watch: int = 0) -> Any:
        """Begins a release of what is staged for the run of that tag, with the tag's image; the verb's answer."""
        image = f"{REPOSITORY}:{tag}"
        self.registry.add(image)
        given = (
            "--owner=ana@laptop",
            f"--run=run-{tag}",
            f"--image={image}",
            f"--watch-seconds={watch}",
            "--ready-seconds=3",
            *more,
        )
        return self.begun("apply", *given)

    def begin(self, tag: str, watch: int = 0, **staged: Any) -> int:
        """Begins a release; returns its number."""
        self.stage(f"run-{tag}", **staged)
        begun = self.apply(tag, watch=watch)
        assert begun["changed"], begun
        number: int = begun["number"]
        return number

    def release(self, tag: str, watch: int = 0, **staged: Any) -> Record:
        number = self.begin(tag, watch, **staged)
        self.work()
        return self.records.get(number)

    @property
    def live(self) -> int | None:
        record = self.records.live()
        return record.number if record else None

    def become(self, replica: int, **values: Any) -> None:
        """Something happens to a replica."""
        index = [index for index, one in enumerate(self.containers) if self.is_api(one)][replica]
        self.containers[index] = replace(self.containers[index], **values)

    def add(self, service: str) -> None:
        self.containers.append(Container(service, f"comentarios-{service}-1", "", f"{service}:1", "running", 0, 0, ""))

    def down(self, service: str) -> None:
        self.containers = [
            replace(one, state="exited") if one.name.startswith(f"comentarios-{service}-") else one
            for one in self.containers
        ]

    # --- what a test sees

    def replicas(self) -> list[str]:
        return sorted(f"{one.image.rpartition(':')[2]} {one.state}" for one in self.containers if self.is_api(one))

    @staticmethod
    def is_api(container: Container) -> bool:
        return "-api-" in container.name

    def state(self) -> dict[str, Any]:
        """All that a release changes but its record, without the names and times that differ from run to run."""
        stack = self.settings.stack_dir
        metrics = self.settings.textfile.read_text().splitlines() if self.settings.textfile.exists() else []
        configured = {
            path.relative_to(stack).as_posix(): path.read_text()
            for path in stack.rglob("*")
            if path.is_file() and not {stack / "releases", stack / "staged"} & set(path.parents)
        }
        return {
            "containers": sorted(
                (one.name.split("-")[1], one.release, one.image, one.state) for one in self.containers
            ),
            "images": set(self.images),
            "loaded": dict(self.loaded),
            "target": self.target,
            "sealed": set(self.sealed),
            "waiting": self.waiting,
            "live": self.live,
            "files": configured,
            "metrics": [line.split()[0] for line in metrics if "timestamp" not in line],
            "listed": {record.number: record.outcome for record in self.records.all() if record.outcome == "good"},
            "unfinished": self.records.unfinished(),
            "left": {path.name for path in self.settings.releases.iterdir() if not path.name.isdecimal()},
            "staged": [path.name for path in (stack / "staged").iterdir()],
            "secrets": [path.name for path in (stack / "releases").rglob("secrets")],
        }

    def behaviour(self, container: Container) -> str:
        return self.behaves.get(container.image.rpartition(":")[2], "")

    # --- what the program is given in place of the real ones

    def sleep(self, seconds: float) -> None:
        self.points("sleep")
        self.now += seconds
        if self.meanwhile:
            self.meanwhile.pop(0)()
        for index, one in enumerate(self.containers):
            if one.runs and one.release == self.target and self.behaviour(one) == "dies":
                self.containers[index] = replace(one, state="exited", exit_code=3)
            if one.runs and one.release == self.target and self.behaviour(one) == "crashes":
                self.containers[index] = replace(one, restarts=one.restarts + 1)

    def probe(self, url: str, limit: int | None = 200) -> tuple[int, str]:
        for service, port in PORTS.items():
            if url == f"http://127.0.0.1:{port}/metrics":
                taken = 0.0 if self.refuses else time.time()
                return 200, f"a 1\n{service}_config_last_reload_success_timestamp_seconds {taken}\n"
        asked = next((one for one in self.containers if url == f"http://{one.address}:8000/readyz" and one.runs), None)
        if asked is None:
            return 0, "Connection refused"
        serves = asked.release == self.target
        if self.behaviour(asked) == "unready" or (serves and self.behaviour(asked) == "stalls"):
            return 503, '{"status": "database is locked"}'
        return 200, "ok"


class FakeEngine(Engine):
    """Docker and Compose, each of whose changes is a point."""

    def __init__(self, world: World):
        super().__init__(world.settings)
        self._world = world

    @contextmanager
    def _change(self, name: str) -> Iterator[None]:
        self._world.points(f"before {name}")
        yield
        self._world.done.append(name)
        self._world.points(f"after {name}")

    def docker(self, *arguments: str, timeout: float = 120, check: bool = True, lines: int = 1) -> str:
        raise AssertionError(f"the fake engine knows nothing of docker {' '.join(arguments)}")

    def services(self, configuration: Path, identity: str = "") -> dict[str, Any]:
        """As Compose does, but for what it puts in the place of variables other than the image."""
        try:
            found: dict[str, Any] = json.loads((configuration / SETTINGS[0]).read_text())["services"]
        except ValueError:
            raise ReleaseError("yaml: line 1: could not find expected ':'") from None
        lines = (configuration / ".env").read_text().splitlines()
        found["api"]["image"] = next(line.removeprefix("API_IMAGE=") for line in lines if line.startswith("API_IMAGE="))
        return found

    def check(self, configuration: Path, service: str, image: str, user: str) -> str:
        assert image == f"{service}:1" or service == "edge", image
        self._world.done.append(f"check {service}")
        return self._world.refused.get(service, "")

    def compose(self, configuration: Path, identity: str, *arguments: str, timeout: float = 300) -> str:
        assert arguments[0] == "up", arguments
        world, services = self._world, self.services(configuration)
        if "--scale" in arguments:
            # Compose starts what is stopped, too, and removes what is too many, the newest first.
            service, count = arguments[arguments.index("--scale") + 1].split("=")
            assert service == arguments[-1] == "api" and "--no-recreate" in arguments
            for name in files.listing(configuration):
                assert not name.startswith("secrets/") or (world.settings.stack_dir / name).exists(), name
            while len(self.containers("api")) < int(count):
                with self._change("create a replica"):
                    self._create("api", services["api"]["image"], identity)
            assert len(self.containers("api")) == int(count), "Compose would remove replicas"
            return ""
        named = [name for name in arguments if name in services]
        assert named and "api" not in named, arguments
        tag = services["api"]["image"].rpartition(":")[2]
        if tag in world.broken_up:
            world.points("compose up")
            raise ReleaseError("container comentarios-edge-1 is unhealthy")
        for name in named:
            there = self.containers(name)
            if [one.image for one in there] != [services[name]["image"]]:
                with self._change(f"recreate {name}"):
                    world.containers = [one for one in world.containers if one not in there]
                    self._create(name, services[name]["image"], "")
                    self._read(name)
        return ""

    def _create(self, service: str, image: str, release: str) -> None:
        world = self._world
        if image.startswith(REPOSITORY):
            assert image in world.images, f"{image} is not here"
        world.made += 1
        made = Container(
            id=f"id-{world.made}",
            name=f"comentarios-{service}-{world.made}",
            release=release,
            image=image,
            state="running",
            exit_code=0,
            restarts=0,
            address=f"10.0.0.{world.made}",
        )
        behaviour = world.behaviour(made)
        if behaviour == "exits":
            made = replace(made, state="exited", exit_code=1)
        elif behaviour == "restarts":
            made = replace(made, restarts=1)
        world.containers.append(made)

    def _read(self, service: str) -> None:
        file = {"edge": EDGE_FILE, "prometheus": "prometheus/rules.yml", "grafana": "grafana/grafana.ini"}[service]
        path = self._settings.stack_dir / file
        self._world.loaded[service] = path.read_text() if path.exists() else ""

    def containers(self, service: str) -> list[Container]:
        return [one for one in self._world.containers if one.name.startswith(f"comentarios-{service}-")]

    def logs(self, container: Container, lines: int = 15, timeout: float = 30) -> str:
        return f"what {container.image} wrote"

    def stop(self, containers: Iterable[Container]) -> None:
        self._become(containers, "stop", state="exited")

    def start(self, containers: Iterable[Container]) -> None:
        self._become(containers, "start", state="running", restarts=0)

    def _become(self, containers: Iterable[Container], name: str, **values: Any) -> None:
        for one in list(containers):
            with self._change(f"{name} {one.name.split('-')[1]}"):
                index = next(index for index, other in enumerate(self._world.containers) if other.id == one.id)
                self._world.containers[index] = replace(self._world.containers[index], **values)

    def remove(self, containers: Iterable[Container]) -> None:
        for one in list(containers):
            with self._change("remove a container"):
                self._world.containers = [other for other in self._world.containers if other.id != one.id]

    def has_image(self, image: str) -> bool:
        return image in self._world.images

    def ensure_image(self, image: str) -> None:
        if not image.startswith(REPOSITORY) or self.has_image(image):
            return
        if image not in self._world.registry:
            raise ReleaseError(f"{image} is neither on this host nor can it be pulled: not found")
        with self._change("pull"):
            self._world.images.add(image)

    def commit(self, image: str) -> str:
        return f"commit of {image.rpartition(':')[2]}"

    def tags(self, image: str) -> list[str]:
        return sorted(one for one in self._world.images if one.startswith(f"{image.rpartition(':')[0]}:"))

    def move(self, image: str, step: str, source: str, target: str, told: Callable[[dict[str, Any]], None]) -> None:
        """As `comentarios.move` does, but for the comments."""
        world = self._world
        assert image in world.images
        for name in filter(None, (source, target)):
            assert (world.settings.stack_dir / "secrets" / name).exists(), name
        if step == world.unmovable:
            raise ReleaseError("the comments cannot be moved: connection refused")
        if step == "copy":
            with self._change("copy"):
                told({"step": "copying", "done": 1, "of": 1})
            return
        if step == "undo":
            if source not in world.sealed:
                told({"step": "moved", "comments": 1})
                return
            source, target = target, source
        if source not in world.sealed:
            told({"step": "hold"})
            assert world.waiting, "writes must wait when the source is sealed"
            with self._change("seal"):
                world.sealed.add(source)
        world.sealed.discard(target)
        world.points("before the answer")
        told({"step": "moved", "comments": 1})

    def remove_image(self, image: str) -> None:
        if all(one.image != image for one in self._world.containers):
            with self._change("remove an image"):
                self._world.images.discard(image)

    def send_sighup(self, container: Container) -> None:
        with self._change("hang up"):
            self._read(container.name.split("-")[1])

    def restart(self, container: Container) -> None:
        with self._change("restart"):
            self._read(container.name.split("-")[1])


class FakeEdge(Edge):
    """An edge that sends every request to its target, and counts what becomes of them."""

    def __init__(self, world: World):
        self._world = world

    def serving(self) -> str | None:
        return self._world.target

    def switch(self, identity: str) -> None:
        self._world.points("before the switch")
        self._world.target = identity
        self._world.done.append("switch")
        self._world.points("after the switch")

    def hold_writes(self) -> None:
        self._world.waiting = True
        self._world.points("after the hold")

    def resume_writes(self) -> None:
        self._world.points("before the release of writes")
        self._world.waiting = False

    def answers(self) -> str:
        if self._world.target in self._world.deaf:
            return "http://127.0.0.1/readyz answered 502: "
        return ""

    def sample(self) -> Sample | None:
        world = self._world
        if not world.counts:
            return None
        serving = [one for one in world.containers if one.release == world.target and one.runs]
        failing = any(world.behaviour(one) == "fails" for one in serving)
        step = Sample(200, 50 if failing else 0, {0.05: 200.0, 0.25: 200.0})
        world.counted = world.counted + step
        return world.counted

    def reload(self) -> None:
        self._world.points("before the reload")
        self._world.loaded["edge"] = (self._world.settings.stack_dir / EDGE_FILE).read_text()
        self._world.points("after the reload")


def copy_of(world: World, folder: Path) -> World:
    """The same world in another folder."""
    # Links will do: the program replaces files and never writes into one.
    shutil.copytree(world.folder, folder, copy_function=os.link)
    settings = replace(world.settings, stack_dir=folder / "stack", textfile=folder / "metrics" / "release.prom")
    return replace(
        world,
        folder=folder,
        settings=settings,
        containers=list(world.containers),
        images=set(world.images),
        registry=set(world.registry),
        loaded=dict(world.loaded),
        behaves=dict(world.behaves),
        deaf=set(world.deaf),
        broken_up=set(world.broken_up),
        sealed=set(world.sealed),
        refused=dict(world.refused),
        meanwhile=[],
        points=Points(),
        done=[],
    )
