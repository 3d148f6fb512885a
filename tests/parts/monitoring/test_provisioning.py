"""Grafana's provisioning files match the dashboards and the data source."""

import configparser
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
GRAFANA = ROOT / "roles/grafana/files"
# Where docker-compose.yml mounts the role's files.
MOUNTED = "/etc/grafana"


def _sources() -> dict[str, dict]:
    text = (GRAFANA / "provisioning/datasources/prometheus.yml").read_text()
    return {source["uid"]: source for source in yaml.safe_load(text)["datasources"]}


def _settings() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(GRAFANA / "grafana.ini")
    return parser


def test_uids_never_change():
    assert {uid: source["type"] for uid, source in _sources().items()} == {
        "prometheus": "prometheus",
        "alertmanager": "alertmanager",
    }
    assert [uid for uid, source in _sources().items() if source.get("isDefault")] == ["prometheus"]


def test_grafana_knows_the_scrape_interval():
    scraped = yaml.safe_load((ROOT / "roles/prometheus/files/prometheus.yml").read_text())["global"]["scrape_interval"]
    assert _sources()["prometheus"]["jsonData"]["timeInterval"] == scraped


def test_provider_and_home_find_the_dashboards():
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/comentarios.yml").read_text())["providers"]
    assert provider["options"]["path"] == f"{MOUNTED}/dashboards"
    assert provider["allowUiUpdates"] is False and provider["disableDeletion"] is True
    home = _settings()["dashboards"]["default_home_dashboard_path"]
    assert (GRAFANA / home.removeprefix(f"{MOUNTED}/")).is_file()


def test_login_is_required():
    settings = _settings()
    assert settings["auth.anonymous"]["enabled"] == "false"
    assert settings["users"]["allow_sign_up"] == "false"
    assert settings["server"]["enable_gzip"] == "false"
    # The password is a file, and the file is not here.
    template = (ROOT / "roles/grafana/templates/grafana.ini.j2").read_text()
    assert "admin_password = $__file{/etc/grafana/secrets/admin_password}" in template
