"""Generated input: valid, nearly valid and arbitrary bodies, and schemathesis' requests."""

import json
import re
import subprocess
import sys
from typing import NamedTuple

from hypothesis import strategies as st

_text = st.text(st.characters(exclude_categories=()), max_size=50)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)
# Around the longest comment, and around the largest body.
_long = st.builds(lambda letter, times: letter * times, st.characters(), st.integers(9_990, 10_010))
_good = st.fixed_dictionaries(
    {
        "email": st.emails(),
        "comment": st.text(min_size=1, max_size=200),
        "content_id": st.integers() | st.text(min_size=1, max_size=255),
    }
)
_nearly = st.fixed_dictionaries(
    {},
    optional={
        "email": st.emails() | _json,
        "comment": _text | _long | _json,
        "content_id": st.integers() | st.text(max_size=260) | st.integers(10**250, 10**260) | _json,
        "more": _json,
    },
)


def _dump(value: object) -> bytes:
    return json.dumps(value).encode()


def _dump_raw(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """A comment with some bytes replaced, doubled or left out."""
    body: bytes = draw(_good.map(_dump))
    at = draw(st.integers(0, len(body)))
    return body[:at] + draw(st.binary(max_size=8)) + body[draw(st.integers(0, len(body))) :]


BODIES = st.one_of(
    _good.map(_dump),
    _good.map(_dump_raw),
    _nearly.map(_dump),
    _nearly.map(_dump_raw),
    _json.map(_dump),
    _damaged(),
    st.binary(max_size=200),
)
CONTENT_TYPES = st.sampled_from(["application/json"] * 8 + ["application/json; charset=utf-16", "text/plain", ""])


class Outcome(NamedTuple):
    """Requests that passed every check, those that did not, and what schemathesis printed."""

    passed: int
    failed: int
    text: str


def run_schemathesis(url: str, examples: int) -> Outcome:
    """All phases and all checks against the API at `url`, `examples` at most for each operation and phase."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"]
    command += ["--checks", "all", "--max-examples", str(examples), "--no-color"]
    done = subprocess.run(command, capture_output=True, text=True)
    cases = re.search(r"^\s+(\d+) generated, (?:(\d+) found|\d+ passed)", done.stdout, re.MULTILINE)
    if not cases or (done.returncode and not cases[2]):
        raise RuntimeError(f"schemathesis did not run: {(done.stdout + done.stderr)[-1000:]}")
    failed = int(cases[2] or 0)
    return Outcome(int(cases[1]) - failed, failed, done.stdout)
