"""Without its keys, nobody gets anything from the sandbox: a container beside it, another user, a web page."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from common.config import Config
from tests.support import ports
from tests.support.browser import Browser
from tests.support.monitoring import http as ask
from tests.support.site import NOT_RUN, ROOT, Site, environment

NOBODY = 65534
FORGED = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=0"
RUN = "Action=RunInstances&Version=2016-11-15&ImageId=ami-0&MinCount=1&MaxCount=1"
Curl = Callable[..., str]


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.fixture(params=["container beside the hosts", "container on Docker's own bridge", "another user"])
def curl(up: Site, request: pytest.FixtureRequest) -> Iterator[Curl]:
    """Asks as somebody who has no key; gives the status, 000 when nobody answers."""
    options = ("--silent", "--insecure", "--max-time", "5", "--output", "/dev/null", "--write-out", "%{http_code}")
    if request.param == "another user":
        drop = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        yield lambda *given: _run(*drop, "curl", "--noproxy", "*", *options, *given)
        return
    network = os.environ["SANDBOX_NAME"] if request.param == "container beside the hosts" else "bridge"
    host = f"{os.environ['SANDBOX_NAME']}-{up.host.instance_id}"
    image = _run("docker", "inspect", "--format", "{{.Image}}", host).strip()
    name = f"{os.environ['SANDBOX_NAME']}-stranger"
    made = ("docker", "run", "--detach", "--rm", "--name", name, "--label", Config().label, "--network", network)
    assert _run(*made, "--entrypoint", "sleep", image, "300"), f"{name} does not start"
    yield lambda *given: _run("docker", "exec", name, "curl", *options, *given)
    _run("docker", "rm", "--force", name)


def test_stranger(curl: Curl) -> None:
    config = Config()
    aws, metadata = f"http://{config.gateway}:{config.aws_port}", f"http://{config.gateway}:{config.metadata_port}"
    assert {
        curl(f"{aws}/?Action=DescribeInstances&Version=2016-11-15"),
        curl("--data", RUN, f"{aws}/"),
        curl("--data", RUN, "--header", f"Authorization: {FORGED}", f"{aws}/"),
        curl("--request", "POST", f"{aws}/moto-api/reset"),
        curl("--header", "Host: evil.example", f"{aws}/"),
        curl("--header", "Origin: https://evil.example", f"{aws}/"),
    } <= {"401", "403"}
    lifetime = ("--request", "PUT", "--header", "X-aws-ec2-metadata-token-ttl-seconds: 60")
    assert curl(*lifetime, f"{metadata}/latest/api/token") == "403"
    assert curl(f"{metadata}/latest/meta-data/iam/security-credentials/") == "403"
    # From Docker's own bridge there is no way to it at all.
    for address in (config.registry_address, f"127.0.0.1:{config.registry_port}"):
        assert curl(f"https://{address}/v2/_catalog") in {"401", "000"}
        assert curl("--user", "AWS:password", f"https://{address}/v2/_catalog") in {"401", "000"}


def test_files_of_the_sandbox_are_closed_to_other_users(up: Site) -> None:
    """Its journal, keys and Terraform's states, even where they know the names."""
    drop = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    for name in ("aws.journal", "keys.json", "."):
        path = up.target.state / name
        assert path.exists()
        assert subprocess.run([*drop, "test", "-r", path], check=False).returncode == 1, name


PAGE = """<!doctype html><body><iframe name=away></iframe><pre id=found></pre><script>
const found = document.getElementById("found"), urls = URLS, body = BODY;
const say = text => found.append(text + "\\n");
for (const url of urls) {
  fetch(url).then(r => r.text()).then(t => say("READ " + url + " " + t), () => say("no " + url));
  for (const type of ["text/plain", "application/json"]) for (const mode of ["cors", "no-cors"])
    fetch(url, {method: "POST", mode, body, headers: {"Content-Type": type}})
      .then(r => r.text()).then(t => t && say("READ " + url + " " + t), () => {});
  const form = document.createElement("form"), field = document.createElement("input");
  Object.assign(form, {method: "post", action: url, target: "away", enctype: "text/plain"});
  Object.assign(field, {name: body.slice(0, -1) + ', "x": "', value: '"}'});
  form.append(field); document.body.append(form); form.submit();
  new WebSocket(url.replace("http", "ws")).onopen = () => say("READ " + url);
}
</script>"""


@pytest.fixture
def tunnel(up: Site, eventually: Callable[..., object]) -> Iterator[dict[str, int]]:
    """`make tunnel`, and its ports."""

    def start(free: list[int]) -> tuple[subprocess.Popen[bytes], dict[str, int]]:
        chosen = dict(zip(("GRAFANA_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT"), free, strict=True))
        variables = environment({name: str(port) for name, port in chosen.items()})
        process = subprocess.Popen([sys.executable, "-m", "cli", "tunnel"], cwd=ROOT, env=variables)
        ready = f"http://127.0.0.1:{chosen['PROMETHEUS_PORT']}/-/ready"
        eventually(lambda: process.poll() is not None or ask(ready)[0] == 200, 30)
        if process.poll() is not None:
            raise ports.Ended(f"the tunnel ended with {process.returncode}")
        return process, chosen

    process, chosen = ports.on_free_ports(start, 3)
    yield chosen
    process.send_signal(2)
    process.wait(timeout=20)


def test_page_of_another_origin(up: Site, tunnel: dict[str, int]) -> None:
    """While the tunnel runs: it reads nothing, and changes nothing, by fetches, forms and WebSockets."""
    browser = Browser.find()
    if browser is None:
        pytest.skip(f"{NOT_RUN}no Chromium (Debian: `apt-get install chromium`) to open a page of another origin")
    config = Config()
    silence = {
        "matchers": [{"name": "alertname", "value": ".+", "isRegex": True, "isEqual": True}],
        "startsAt": "2020-01-01T00:00:00Z",
        "endsAt": "2040-01-01T00:00:00Z",
        "createdBy": "page",
        "comment": "page",
    }
    prometheus, alertmanager = (f"http://127.0.0.1:{tunnel[name]}" for name in ("PROMETHEUS_PORT", "ALERTMANAGER_PORT"))
    urls = [
        f"{prometheus}/api/v1/query?query=up",
        f"{alertmanager}/api/v2/silences",
        f"{alertmanager}/api/v2/alerts",
        f"http://{config.gateway}:{config.aws_port}/?{RUN}",
        f"http://{config.gateway}:{config.metadata_port}/latest/meta-data/",
        f"http://{config.push_address}/v2/_catalog",
    ]
    html = PAGE.replace("URLS", json.dumps(urls)).replace("BODY", json.dumps(json.dumps(silence))).encode()

    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html)

        def log_message(self, format: str, *args: object) -> None:
            pass

    journal = up.target.state / "aws.journal"
    before = len(journal.read_bytes())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil) as evil:
        threading.Thread(target=evil.serve_forever, daemon=True).start()
        seen = browser.page(f"http://127.0.0.1:{evil.server_port}/", {}, seconds=10)
        evil.shutdown()
    assert len(re.findall(r"^(?:.*>)?no ", seen, re.M)) == len(urls), seen
    assert "READ" not in seen.partition("<pre")[2].partition("</pre>")[0]
    status, silences = ask(f"{alertmanager}/api/v2/silences")
    assert status == 200 and "page" not in {one["createdBy"] for one in json.loads(silences)}
    # Others are at work meanwhile.
    assert RUN.encode() not in journal.read_bytes()[before:]
