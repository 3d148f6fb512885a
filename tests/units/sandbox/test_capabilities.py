"""The capabilities of a host, on machines and engines with more or fewer."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import CommandError
from sandbox import capabilities

# As engines 20.10, 26.1 and 28.5 say it.
REFUSALS = {
    "20.10, older than the capability": 'docker create --cap-add: invalid CapAdd: unknown capability: "CAP_{name}"',
    "26.1": "docker create --cap-add: Error response from daemon: invalid CapAdd: capability not supported by your "
    'kernel or not available in the current environment: "CAP_{name}"',
}


class Engine:
    """One that refuses capabilities, one at a time, as engines do."""

    def __init__(self, text: str, *lacking: str) -> None:
        self._text, self._lacking = text, lacking
        self.made: list[tuple[str, ...]] = []

    def __call__(self, *arguments: str) -> str:
        for name in self._lacking:
            if name in arguments:
                raise CommandError(self._text.format(name=name))
        self.made.append(arguments)
        return ""


def added(engine: Engine) -> set[str]:
    (made,) = engine.made
    return {made[number + 1] for number, part in enumerate(made) if part == "--cap-add"}


@pytest.mark.parametrize(
    "mask, missing",
    [("000001ffffffffff", set()), ("000001fffeffffff", {"SYS_RESOURCE"}), ("0000003fffffffff", {"PERFMON", "BPF"})],
)
def test_bounding_set(tmp_path: Path, mask: str, missing: set[str]) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tx\nCapEff:\t0000000000000000\nCapBnd:\t{mask}\n")
    found = set(capabilities.bounding(status))
    assert not found & missing
    assert "SYS_ADMIN" in found and ("SYS_RESOURCE" in found) == ("SYS_RESOURCE" not in missing)


def test_no_linux(tmp_path: Path) -> None:
    """Docker Desktop: the engine's machine is another one than ours."""
    assert capabilities.bounding(tmp_path / "absent") == list(capabilities.NAMES)


def test_one_is_never_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """And none is dropped: later engines refuse to drop what the machine does not have."""
    engine = Engine("")
    monkeypatch.setattr(capabilities, "docker", engine)
    monkeypatch.setattr(capabilities, "bounding", lambda: list(capabilities.NAMES))
    capabilities.create("--name", "host")
    assert added(engine) == set(capabilities.NAMES) - {"SYS_RESOURCE"}
    assert "--cap-drop" not in engine.made[0] and engine.made[0][-2:] == ("--name", "host")


@pytest.mark.parametrize("text", REFUSALS.values(), ids=REFUSALS)
def test_engine_that_lacks_some(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    engine = Engine(text, "CHECKPOINT_RESTORE", "SYS_TIME")
    monkeypatch.setattr(capabilities, "docker", engine)
    monkeypatch.setattr(capabilities, "bounding", lambda: list(capabilities.NAMES))
    capabilities.create("--name", "host")
    assert added(engine) == set(capabilities.NAMES) - {"SYS_RESOURCE", "CHECKPOINT_RESTORE", "SYS_TIME"}


def test_engine_that_refuses_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine("docker create: Conflict. The container name is in use", "SYS_ADMIN")
    monkeypatch.setattr(capabilities, "docker", engine)
    with pytest.raises(CommandError, match="in use"):
        capabilities.create("--name", "host")
