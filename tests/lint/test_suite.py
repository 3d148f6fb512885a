"""`make test` leaves no test out."""

from pathlib import Path

from verbs.testing import ALL

ROOT = Path(__file__).resolve().parents[2]
# What takes too long for every run: `make prove`.
ELSEWHERE = {"tests/proofs"}


def test_every_test_is_run():
    """Files are named one by one where their order matters: a new one is easily forgotten."""
    files = {
        path.relative_to(ROOT).as_posix()
        for folder in ("tests", "api/tests")
        for path in (ROOT / folder).rglob("test_*.py")
    }
    assert len(files) > 20
    assert {file for file in files if not file.startswith((*ALL, *ELSEWHERE))} == set()
