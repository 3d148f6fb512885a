"""A good and a bad release under 200 requests a second, none of which is lost."""

from __future__ import annotations

import re

import pytest

from tests.support.releases import PROGRAM, lossless


def test_release_and_rollback_lose_nothing(releases, pushed):
    before, tag = releases.live(), pushed("good")
    with releases.load() as report:
        done = releases.site.make("release", TAG=tag, WATCH="5")
        assert done.returncode == 0, done.stdout[-4000:]
        assert releases.version() == tag
        old_gone = releases.live()["times"]["stopped"] - releases.live()["started"]
        done = releases.site.make("rollback", WATCH="5")
        assert done.returncode == 0, done.stdout[-4000:]
    lossless(report)
    assert releases.version() == before["tag"]
    assert releases.live()["kind"] == "rollback" and old_gone < 30
    listed = releases.site.make("releases").stdout
    assert re.search(rf"^\* +{releases.live()['number']} .*{before['tag']}.* good \(rollback", listed, re.MULTILINE), (
        listed
    )
    metrics = releases.run("cat /var/lib/node_exporter/textfile/release.prom").stdout
    assert f'comentarios_release_info{{version="{before["tag"]}"}} 1.000' in metrics
    assert "comentarios_release_last_success 1.000" in metrics


def test_image_that_exits_at_its_start(releases, pushed):
    before, tag = releases.live(), pushed("exits")
    with releases.load() as report:
        done = releases.release(tag)
    lossless(report)
    assert done.returncode == 1
    assert "ended at its start" in done.stderr and "the settings make no sense" in done.stderr
    assert releases.live() == before and releases.version() == before["tag"]
    assert tag not in releases.images()
    assert "last_success 0.000" in releases.run("cat /var/lib/node_exporter/textfile/release.prom").stdout


def test_tag_that_ecr_does_not_have(releases):
    before = releases.known()
    done = releases.site.make("release", TAG="no-such-tag")
    assert done.returncode != 0 and "ECR has no image comentarios-api:no-such-tag" in done.stdout
    assert releases.known() == before


def test_edges_and_prometheus_configuration_change_under_load(releases):
    before = releases.live()
    releases.stage("haproxy/haproxy.cfg", "s/timeout queue 5s/timeout queue 6s/")
    releases.stage("prometheus/prometheus.yml", "$a# changed by a test")
    with releases.load() as report:
        done = releases.release()
        assert done.returncode == 0, done.stderr
        assert releases.live()["kind"] == "configuration"
        edge = "docker exec comentarios-edge-1 cat /etc/haproxy/haproxy.cfg"
        assert "timeout queue 6s" in releases.run(edge).stdout
        back = releases.roll_back()
        assert back.returncode == 0, back.stderr
    lossless(report)
    assert "timeout queue 5s" in releases.run(edge).stdout
    assert "changed by a test" not in releases.run("cat /opt/comentarios/prometheus/prometheus.yml").stdout
    assert releases.live()["tag"] == before["tag"]


@pytest.mark.parametrize(
    ("part", "expression", "reason"),
    [
        ("prometheus/rules/host.yml", "s/expr: .*/expr: rate(up/", "prometheus refuses its configuration"),
        ("alertmanager/alertmanager.yml", "s/^route:/rout:/", "alertmanager refuses its configuration"),
        ("haproxy/haproxy.cfg", "s/^defaults/defalts/", "edge refuses its configuration"),
        ("grafana/dashboards/api.json", "1d", "grafana/dashboards/api.json is damaged"),
        ("docker-compose.override.yml", "s/^services:/services: {/", "yaml: "),
    ],
)
def test_configuration_that_is_wrong_changes_nothing(releases, part, expression, reason):
    sums = "sudo sh -c 'cd /opt/comentarios && find . -type f ! -name lock -exec sha256sum {} + | sort'"
    before, listed = releases.run(sums).stdout, releases.known()
    releases.stage(part, expression)
    done = releases.run(f"{PROGRAM} apply --owner tests --run tests")
    assert done.returncode == 1 and reason in done.stderr, done.stderr
    assert releases.run(sums).stdout == before and releases.known() == listed
