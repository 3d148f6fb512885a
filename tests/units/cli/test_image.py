"""An image is pushed only for hosts of its architecture."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cli import host, image
from cli.host import Host
from cli.targets import Target
from common.errors import CommandError
from common.paths import ROOT


@pytest.mark.parametrize(
    ("built", "hosts", "refused"),
    [
        ("amd64", ["x86_64", "x86_64"], ""),
        ("arm64", ["arm64"], ""),
        ("arm64", [], ""),
        ("arm64", ["arm64", "x86_64"], "built for arm64, and h1 is x86_64: .* that is x86_64, .* such as t4g.small$"),
        ("amd64", ["arm64"], "built for x86_64, and h0 is arm64: .* that is arm64, .* such as t3.small$"),
    ],
)
def test_architecture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, built: str, hosts: list[str], refused: str
) -> None:
    """What was built for another one is refused before it is pushed: a tag is never pushed twice."""
    pushed: list[str] = []
    monkeypatch.setattr(image, "_wanted", lambda _: "v1")
    monkeypatch.setattr(image, "in_ecr", lambda *_: False)
    monkeypatch.setattr(image, "_build_once", lambda *_: None)
    monkeypatch.setattr(image, "inspect", lambda *_: {"Architecture": built})
    monkeypatch.setattr(image, "push", lambda _, wanted: pushed.append(wanted))
    found = [Host(f"h{n}", "192.0.2.1", "admin", "i-1", architecture=one) for n, one in enumerate(hosts)]
    monkeypatch.setattr(host, "hosts", lambda _: found)
    target = Target("aws", tmp_path, {})
    if not refused:
        assert image.ensure_pushed(target) == "v1" and pushed == ["v1"]
        return
    with pytest.raises(CommandError, match=refused):
        image.ensure_pushed(target)
    assert pushed == []


def test_every_source_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed file is another image, whatever its name; what Python compiles is none."""
    package = tmp_path / "api" / "comentarios"
    (package / "templates.d" / "__pycache__").mkdir(parents=True)
    for name in ("Dockerfile", "requirements.txt", "api.py"):
        (tmp_path / "api" / name).touch()
    shutil.copy(ROOT / "api" / "image.py", tmp_path / "api")
    monkeypatch.setattr(image, "ROOT", tmp_path)
    monkeypatch.setattr(image, "_git", lambda *_: "")
    tags = [image.tree_tag()]
    for name in ("storage.py", "NOTICE", "templates.d/page", "templates.d/__pycache__/x.pyc"):
        (package / name).write_text("x")
        tags.append(image.tree_tag())
    assert len(set(tags)) == 4 and tags[-2] == tags[-1] and tags[0].startswith("nocommit-")
