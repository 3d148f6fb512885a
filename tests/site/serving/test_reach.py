"""The containers reach what the table in docs/security.md says, and no more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from tests.support import reach
from tests.support.site import ROOT, Site

NAMES = {
    "api": "API",
    "edge": "edge",
    "prometheus": "Prometheus",
    "alertmanager": "Alertmanager",
    "grafana": "Grafana",
    "node-exporter": "node exporter",
}


@pytest.fixture(scope="module")
def found(up: Site) -> Iterator[list[reach.Container]]:
    """The stack's containers; where Grafana's image is not available, one in its networks as its user."""
    listed = reach.containers(up)
    if any(one.service == "grafana" for one in listed):
        yield listed
        return
    networks = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]["networks"]
    first, *others = [f"comentarios_{network}" for network in networks]
    image = up.ssh("grep ^API_IMAGE= /opt/comentarios/.env | cut -d= -f2").stdout.strip()
    made = up.ssh(
        f"docker run --detach --name reach-grafana --user 472 --network {first} --label {reach.SERVICE}=grafana"
        f" --dns 127.0.0.1 --no-healthcheck {image} python3 -m http.server 3000"
        + "".join(f" && docker network connect {network} reach-grafana" for network in others)
    )
    try:
        assert made.returncode == 0, made.stderr
        yield reach.containers(up)
    finally:
        up.ssh("docker rm --force reach-grafana")


def test_table(up: Site, found: list[reach.Container]) -> None:
    to = reach.targets(up, found)
    rows: dict[str, set[str]] = {}
    for service, name in NAMES.items():
        each = [reach.reached(up, one, to) for one in found if one.service == service]
        rows[name] = set().union(*each)
        # A container reaches its own ports, by its own addresses.
        rows[name] -= {column for column, (owner, _) in reach.PORTS.items() if owner == service and service != "api"}
    made = reach.table(rows)
    assert made in (ROOT / "docs" / "security.md").read_text(), f"docs/security.md should have:\n{made}"


@pytest.mark.parametrize(
    "url",
    [
        "http://alertmanager:9093/api/v2/silences",
        "http://prometheus:9090/-/reload",
        "http://prometheus:9090/-/quit",
        "http://prometheus-monitor:9090/api/v1/query?query=up",
        "http://169.254.169.254/latest/api/token",
        "http://node-exporter:9100/metrics",
    ],
)
def test_replica_that_was_taken_over(up: Site, url: str) -> None:
    """In the very container, by the services' names."""
    ask = f"import urllib.request as u; print(u.urlopen(u.Request('{url}', b'{{}}'), timeout=2).status)"
    tried = up.ssh(f'cd /opt/comentarios && docker compose exec -T api python3 -c "{ask}"')
    assert tried.returncode == 1 and "urlopen error" in tried.stderr, tried.stdout + tried.stderr[-300:]


def test_metadata_are_roots(up: Site) -> None:
    """On the host itself and in its network: the backups' way, and nobody else's."""
    ask = "curl --silent --max-time 3 --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 60'"
    ask += f" --output /dev/null --write-out '%{{http_code}}' http://{reach.METADATA}/latest/api/token"
    assert up.ssh(f"sudo {ask}").stdout == "200"
    for user in ("65534", "10001", "10003", "10004", "10005", "10006", "472"):
        done = up.ssh(f"sudo setpriv --reuid={user} --regid={user} --clear-groups {ask}")
        assert (done.stdout, done.returncode) == ("000", 7), user
