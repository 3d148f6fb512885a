"""Two hosts behind the sandbox's load balancer, with a PostgreSQL and its streaming replica: the effect of each fault.

200 requests a second, four of five are reads, and everything acknowledged is read back. Prints the table for
docs/measurements.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import tables
import trustme

from cli import host, terraform
from common.config import Config
from common.docker import copy_into, docker
from sandbox import elb
from tests.support import replies
from tests.support.pair import Pair
from tests.support.releases import Releases
from tests.support.site import Site
from tests.support.waiting import eventually

# The site has two hosts and another database afterwards.
pytestmark = pytest.mark.reshapes_site

DOMAIN, PARAMETER = "comments.example.com", "/comentarios/database_url"
POSTS, READS = 40, 4  # posts a second, and reads for each
TIMEOUT = 10.0  # seconds: more than a request may wait in the edge's queue and for the API
GONE = 30.0  # seconds that a host is gone for
UNNOTICED = 5.0  # seconds until somebody knows that PostgreSQL's machine is gone


@pytest.fixture(scope="module")
def pair(up: Site) -> Iterator[Pair]:
    made = Pair(Config())
    terraform.client(up.target, "ssm").put_parameter(
        Name=PARAMETER, Type="SecureString", Value=made.primary.network_url, Overwrite=True
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def certificate(up: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The ARN of a certificate of an authority that this process trusts, for the domain and the address."""
    authority = trustme.CA()
    # As sandbox/elb.py chooses it: the last one of the first subnet.
    address = str(list(Config().subnet.subnets(prefixlen_diff=1))[0].broadcast_address)
    issued = authority.issue_cert(DOMAIN, address)
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    made = terraform.client(up.target, "acm").import_certificate(
        Certificate=issued.cert_chain_pems[0].bytes(), PrivateKey=issued.private_key_pem.bytes()
    )
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            patch.setenv(name, str(file))
        yield made["CertificateArn"]


@pytest.fixture(scope="module")
def site(up: Site, pair: Pair, certificate: str) -> SimpleNamespace:
    """`behind`: the load balancer as the edge of the first host; `hosts`: both."""
    database = {"TF_VAR_database_url_parameter": PARAMETER}
    balancer = {"TF_VAR_load_balancer": "true", "TF_VAR_domain": DOMAIN, "TF_VAR_certificate_arn": certificate}
    whole = database | balancer | {"TF_VAR_instance_count": "2"}
    for verb, variables in (("move-database", database | {"TO": PARAMETER}), ("up", whole)):
        done = up.make(verb, timeout=1500, WATCH="0", **variables)
        assert done.returncode == 0, done.stdout[-6000:]
    found = host.hosts(up.target)
    assert len(found) == 2
    (described,) = elb.balancers(Config())
    # `make up` says where it is.
    assert f"load balancer {described['DNSName']} at {elb.url(described)}" in done.stdout, done.stdout
    behind = Releases(up.on(found[0]))
    behind.edge = elb.url(described)
    container = f"{Config().name}-elb-{described['LoadBalancerName']}"
    return SimpleNamespace(behind=behind, hosts=found, container=container, variables=whole)


@pytest.fixture(scope="module")
def measured(site: SimpleNamespace) -> Callable[..., Any]:
    """A context of a fault under load, which adds its row to the table and returns the load's report."""

    @contextlib.contextmanager
    def measure(name: str, *, lossy: bool = False) -> Iterator[dict[str, Any]]:
        for one in site.hosts:
            eventually(partial(_ready, one.address), 120)
        time.sleep(12)  # two checks of the balancer
        eventually(lambda: _serves(site.behind.edge), 90)
        with site.behind.load(POSTS, TIMEOUT, READS) as report:
            time.sleep(2)
            yield report
            eventually(lambda: _serves(site.behind.edge), 90)
            time.sleep(3)
        first, last = report["first_failure"], report["last_failure"]
        report["failing"] = 0.0 if first is None else round(last - first, 1)
        row = {
            "fault, behind the balancer": name,
            "requests": sum(report["sent"].values()),
            "failed GET / POST": " / ".join(str(report["failed"].get(kind, 0)) for kind in ("GET", "POST")),
            "of them": ", ".join(f"{count} {reason}" for reason, count in report["reasons"].items()) or "",
            "503 without Retry-After": report["without_retry_after"],
            "seconds from first to last failure": report["failing"],
            "acknowledged and lost": report["missing"],
        }
        tables.add_row(row, row.values())
        print(row, report["timeline"], f"p99 {report['p99']:.2f} s", os.getloadavg())
        assert lossy or not report["missing"], row

    return measure


def _ready(address: str) -> bool:
    return requests.get(f"http://{address}/readyz", timeout=5).ok


def _serves(edge: str) -> bool:
    """Ten times in a row, whatever host it is."""
    for number in range(10):
        replies.post(edge, "serves", str(number), timeout=5)
    return True


@contextlib.contextmanager
def _killed(one: host.Host) -> Iterator[None]:
    """A host whose power is off for a while. The sandbox would start it again at once: it waits for its own lock."""
    name = Config().host_name(one.instance_id)
    with Path(Config().state, "sync.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        docker("kill", "--signal", "KILL", name)
        try:
            yield
        finally:
            docker("start", name)


def test_host_killed(site: SimpleNamespace, measured: Callable[..., Any]) -> None:
    with measured("a host killed, and back after 30 s: as AWS's balancer does it") as report, _killed(site.hosts[1]):
        time.sleep(GONE)
    # Two checks, five seconds apart, and what waits for them.
    assert report["failing"] <= 20, report["failures"]


def test_host_killed_and_requests_tried_again(site: SimpleNamespace, measured: Callable[..., Any]) -> None:
    """What no ALB does: a second try with the other host, and checks each half second."""
    file = f"/{elb.FOLDER}/haproxy.cfg"
    before = docker("exec", site.container, "cat", file)
    changed = (
        before.replace("timeout connect 10s", "timeout connect 500ms")
        .replace("    retries 0\n", "    retries 3\n    option redispatch 1\n    retry-on conn-failure\n")
        .replace("default-server check inter 5s", "default-server check inter 500ms")
        .replace(" track ", " tcp-ut 500ms on-marked-down shutdown-sessions track ")
        .replace("    timeout connect 2s\n    timeout check 2s", "    timeout connect 500ms\n    timeout check 500ms")
    )
    _configure(site.container, changed)
    try:
        with measured("the same, by a balancer that tries the other host") as report, _killed(site.hosts[1]):
            time.sleep(GONE)
    finally:
        _configure(site.container, before)
    assert report["failing"] <= 2, report["failures"]


def _configure(container: str, text: str) -> None:
    copy_into(container, {f"{elb.FOLDER}/haproxy.cfg": text}, uid=elb.USER, mode=0o600)
    docker("exec", container, "sh", "-c", elb.RELOAD)


def test_release_host_by_host(
    up: Site, site: SimpleNamespace, measured: Callable[..., Any], pushed: Callable[[str], str]
) -> None:
    tag = pushed("good")
    with measured("a release, host by host") as report:
        done = up.make("release", TAG=tag, WATCH="2")
        assert done.returncode == 0, done.stdout[-3000:]
    assert not report["failed"], report["failures"]


def test_postgresql_restarted(pair: Pair, measured: Callable[..., Any]) -> None:
    with measured("PostgreSQL restarted") as report:
        pair.primary.stop()
        pair.primary.start()
    _only_503(report)


@pytest.mark.parametrize("synchronous", [True, False])
def test_postgresql_failed_over(pair: Pair, measured: Callable[..., Any], synchronous: bool) -> None:
    pair.replicate(synchronous)
    kind = "synchronous" if synchronous else "asynchronous"
    name = f"PostgreSQL's machine gone, {kind} replica promoted after {UNNOTICED:.0f} s"
    with measured(name, lossy=not synchronous) as report:
        pair.fail_over(UNNOTICED)
    _only_503(report)
    assert report["failing"] <= 30, report["failures"]


def _only_503(report: dict[str, Any]) -> None:
    assert set(report["reasons"]) <= {"status 503"}, report["reasons"]
    assert not report["without_retry_after"]


def test_make_up_again(up: Site, site: SimpleNamespace) -> None:
    """It brings back the process of the APIs and the balancer, and changes nothing if both are there."""
    docker("rm", "--force", site.container)
    os.kill(int(Path(Config().state, "server.pid").read_text()), signal.SIGKILL)
    made = []
    for _ in range(2):
        done = up.make("up", WATCH="0", **site.variables)
        assert done.returncode == 0, done.stdout[-3000:]
        assert _serves(site.behind.edge)
        made.append(docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", site.container))
    assert made[0] == made[1]
    shown = up.make("status").stdout
    assert f"healthy    load balancer comentarios  {site.behind.edge}" in shown, shown
