"""The configuration of a load balancer's HAProxy, from what the ELBv2 API says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.config import Config
from common.errors import CommandError
from sandbox import elb

GROUP: dict[str, Any] = {
    "TargetGroupArn": "arn:group",
    "TargetGroupName": "site",
    "HealthCheckPath": "/readyz",
    "HealthCheckIntervalSeconds": 7,
    "HealthCheckTimeoutSeconds": 4,
    "HealthyThresholdCount": 3,
    "UnhealthyThresholdCount": 2,
    "Matcher": {"HttpCode": "200-299"},
    "Delay": "45",
    "Servers": [("i-1-80", "10.0.0.4:80", "81")],
}
FORWARD = {"Type": "forward", "TargetGroupArn": "arn:group"}
REDIRECT = {"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}}


def listener(port: int, protocol: str = "HTTP", action: dict[str, Any] = FORWARD, policy: str = "") -> dict[str, Any]:
    return {"Port": port, "Protocol": protocol, "DefaultActions": [action], "SslPolicy": policy}


def balancer(*listeners: dict[str, Any]) -> dict[str, Any]:
    return {"LoadBalancerName": "site", "Address": "10.0.0.127", "Listeners": list(listeners)}


def lines(*listeners: dict[str, Any]) -> list[str]:
    made = elb.configuration(balancer(*listeners), [GROUP], "60")
    return [line.strip() for line in made.splitlines()]


def test_health_checks_and_delay_are_the_target_groups() -> None:
    made = lines(listener(80))
    for line in (
        "option httpchk GET /readyz",
        "http-check expect status 200-299",
        "timeout check 4s",
        "default-server check inter 7s",
        "default-server fall 2 rise 3",
        "hard-stop-after 45s",
        "timeout server 60s",
    ):
        assert line in made


def test_targets_are_checked_followed_and_there_without_checks() -> None:
    made = lines(listener(80))
    servers = [line for line in made if line.startswith("server ")]
    assert servers == [
        "server i-1-80 10.0.0.4:80 port 81",
        "server i-1-80 10.0.0.4:80 track checks-site/i-1-80",
        "server i-1-80 10.0.0.4:80",
    ]
    assert "use_backend any-site if { nbsrv(site) eq 0 }" in made


@pytest.mark.parametrize(
    "policy, least",
    [("ELBSecurityPolicy-TLS13-1-2-2021-06", "TLSv1.2"), ("ELBSecurityPolicy-TLS13-1-3-2021-06", "TLSv1.3")],
)
def test_https(policy: str, least: str) -> None:
    (bind,) = (line for line in lines(listener(443, "HTTPS", policy=policy)) if line.startswith("bind"))
    assert bind == f"bind :443 ssl crt /usr/local/etc/haproxy/443.pem ssl-min-ver {least} alpn h2,http/1.1"


def test_redirect() -> None:
    assert (
        "http-request redirect location https://%[req.hdr(host),host_only]:443%[pathq] code 301"
        in lines(listener(80, action=REDIRECT))
    )  # fmt: skip


@pytest.mark.parametrize("action", [{"Type": "fixed-response"}, {"Type": "forward", "TargetGroupArn": "arn:other"}])
def test_what_is_not_supported_is_refused(action: dict[str, Any]) -> None:
    with pytest.raises(CommandError, match=r"^load balancer site: port 80 must forward or redirect$"):
        lines(listener(80, action=action))


@pytest.mark.parametrize(
    "listeners, expected",
    [
        ([listener(80), listener(443, "HTTPS")], "https://10.0.0.127"),
        ([listener(80)], "http://10.0.0.127"),
        ([listener(8080)], "http://10.0.0.127:8080"),
    ],
)
def test_url(listeners: list[dict[str, Any]], expected: str) -> None:
    assert elb.url(balancer(*listeners)) == expected


def test_each_region_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever they are called."""
    named = [("us-east-1", "site"), ("eu-west-1", "site"), ("us-east-1", "eu-west-1-site")]
    listed = [balancer(listener(80)) | {"Region": region, "LoadBalancerName": name} for region, name in named]
    config = Config(name="units", state=tmp_path)
    started: list[str] = []

    def docker(command: str, *arguments: str) -> None:
        started.extend(arguments[-1:] if command == "start" else [])

    monkeypatch.setattr(elb, "balancers", lambda _: listed)
    monkeypatch.setattr(elb, "_content", lambda *_: {"path": "text"})
    monkeypatch.setattr(elb, "inspect", lambda *_: {"State": {"Status": "created"}})
    monkeypatch.setattr(elb, "copy_into", lambda *_, **__: None)
    monkeypatch.setattr(elb, "docker", docker)
    assert len(elb.sync(config, str)) == 3
    assert started == ["units-elb-site", "units-elb-eu-west-1.site", "units-elb-eu-west-1-site"]
