"""No file in git, or to be added to it, has a secret. `make prove` scans the history."""

from pathlib import Path

from tests.support import programs, secrets
from tests.support.site import ROOT


def test_no_secret_in_any_file(tmp_path: Path) -> None:
    paths = {name.replace("/", "_"): name for name in programs.tracked(ROOT)}
    assert len(paths) > 100
    for name, path in paths.items():
        (tmp_path / name).write_bytes((ROOT / path).read_bytes())
    assert not secrets.unknown(tmp_path, paths), "remove it, or say in tests/support/secrets.py why it is none"


def test_the_scanner_finds_one(tmp_path: Path) -> None:
    """It cannot pass by finding nothing at all."""
    key = "AKIA" + "Q3EGVJ7LTKPW2XNA"
    (tmp_path / "settings.py").write_text(f'aws_access_key_id = "{key}"\n')
    assert ("settings.py", "AWS Access Key") in secrets.unknown(tmp_path, {"settings.py": "settings.py"})
