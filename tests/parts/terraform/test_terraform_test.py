"""`terraform test` in both folders, and that it covers every variable."""

from __future__ import annotations

import re

import pytest

from tests.parts.terraform.emulator import ROOT
from tests.parts.terraform.files import EVERY, Tested

FOLDERS = {"host": ROOT / "terraform", "bootstrap": ROOT / "terraform" / "bootstrap"}
# A bool takes no bad value but one of another type, which Terraform itself refuses.
BOOLEANS = re.compile(r'variable "(\w+)" \{[^}]*?type +?= bool')


@pytest.mark.parametrize(("part", "name"), EVERY)
def test_passes(tested: Tested, part: str, name: str) -> None:
    status, output = tested[part]
    file = rf"^tests/{name}\.tftest\.hcl\.\.\. "
    runs = re.search(rf"{file}in progress\n(.*?){file}tearing down\n{file}pass$", output, re.MULTILINE | re.DOTALL)
    assert status == 0 and runs and re.search(r'^ +run ".+"\.\.\. pass$', runs[1], re.MULTILINE), output
    assert re.search(r"^Success! [1-9]\d* passed, 0 failed\.$", output, re.MULTILINE), output


def test_every_file_runs() -> None:
    found = {
        (part, path.name.removesuffix(".tftest.hcl"))
        for part, folder in FOLDERS.items()
        for path in (folder / "tests").glob("*.tftest.hcl")
    }
    assert found == set(EVERY)


@pytest.mark.parametrize("part", FOLDERS)
def test_every_variable_has_a_bad_value(part: str) -> None:
    text = _text(part, "variables.tf")
    tests = (FOLDERS[part] / "tests" / "variables.tftest.hcl").read_text()
    validated = set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE))
    free = {name for name in BOOLEANS.findall(text) if "validation" not in _block(text, name)}
    assert free
    assert set(re.findall(r"^ +var\.(\w+),", tests, re.MULTILINE)) == validated - free


@pytest.mark.parametrize("part", FOLDERS)
def test_every_variable_is_typed_and_described(part: str) -> None:
    text = _text(part, "variables.tf")
    names = re.findall(r'^variable "(\w+)"', text, re.MULTILINE)
    bare = [
        name for name in names if not re.search(r"^  description = .*\n  type +=", _block(text, name), re.MULTILINE)
    ]
    assert bare == []


@pytest.mark.parametrize("part", FOLDERS)
@pytest.mark.parametrize("file", ["variables.tf", "outputs.tf"])
def test_the_manual_holds_every_variable_and_output(part: str, file: str) -> None:
    kind = file.removesuffix("s.tf")
    manual = (
        (ROOT / "terraform" / "README.md")
        .read_text()
        .split(f"## {kind.capitalize()}s of {'the ' * (part == 'host')}{part}\n")[1]
    )
    listed = re.findall(r"^\| `(\w+)` \|", manual.split("\n## ")[0], re.MULTILINE)
    assert listed == re.findall(rf'^{kind} "(\w+)"', _text(part, file), re.MULTILINE)


def _text(part: str, file: str) -> str:
    """What is in a file of a folder, after the names, which both folders share."""
    return "".join((FOLDERS[part] / name).read_text() for name in ("names.tf", file))


def _block(text: str, name: str) -> str:
    return text.split(f'variable "{name}" {{', 1)[1].split("\n}\n", 1)[0]
