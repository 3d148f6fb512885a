"""A site with a domain: a certificate by ACME, HTTPS, and back to plain HTTP."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from cli import host, terraform
from common.config import Config
from common.docker import copy_into
from common.images import OWN_BASE
from sandbox import images
from tests.support.site import ROOT

DOMAIN, AUTHORITY = "comments.example.test", "authority.example.test"
# Its certificates are good for half a day.
PEBBLE = {
    "listenAddress": "0.0.0.0:443",
    "managementListenAddress": "0.0.0.0:15000",
    "certificate": "/etc/pebble.pem",
    "privateKey": "/etc/pebble.key",
    "httpPort": 80,
    "tlsPort": 443,
    "certificateValidityPeriod": 43200,
}


@dataclass(frozen=True)
class Authority:
    """An ACME authority: what its API's certificate and what the certificates that it issues are signed by, in PEM."""

    api: str
    root: str


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def authority(up, eventually, tmp_path_factory) -> Iterator[Authority]:
    """An ACME authority in the host's network, by whose names the domain is the host."""
    name = f"{os.environ['SANDBOX_NAME']}-authority"
    image = f"{name}:{OWN_BASE.rpartition(':')[2]}"
    base = images.chosen(Config())["base"]
    _docker(
        *("build", "--quiet", "--label", images.IMAGE_LABEL, "--build-arg", f"BASE_IMAGE={base}", "--tag", image),
        str(ROOT / "tests" / "support" / "authority"),
    )
    key, certificate = (tmp_path_factory.mktemp("authority") / part for part in ("key", "pem"))
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={AUTHORITY}"),
            *("-addext", f"subjectAltName=DNS:{AUTHORITY}", "-keyout", key, "-out", certificate),
        ],
        capture_output=True,
        check=True,
    )
    subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)
    _docker(
        *("create", "--name", name, "--network", os.environ["SANDBOX_NAME"], "--network-alias", AUTHORITY),
        *(
            "--env",
            "PEBBLE_VA_NOSLEEP=1",
            "--env",
            "PEBBLE_WFE_NONCEREJECT=0",
            "--sysctl",
            "net.ipv4.ip_unprivileged_port_start=0",
        ),
        # `make down` removes it, too, should this run be killed.
        *("--label", Config().label, "--add-host", f"{DOMAIN}:{up.host.address}", image),
    )
    try:
        configuration = {
            "etc/pebble.json": json.dumps({"pebble": PEBBLE}),
            "etc/pebble.pem": certificate.read_text(),
            "etc/pebble.key": key.read_text(),
        }
        copy_into(name, configuration)
        _docker("start", name)
        format_ = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        roots = f"https://{_docker('inspect', '--format', format_, name).strip()}:15000/roots/0"
        command = ["curl", "--silent", "--fail", "--insecure", roots]
        root = eventually(lambda: subprocess.run(command, capture_output=True, text=True, check=True).stdout, 30)
        yield Authority(certificate.read_text(), str(root))
    finally:
        _docker("rm", "--force", "--volumes", name)


@pytest.fixture(scope="module")
def domain(up, authority) -> Iterator[None]:
    """The site as Terraform's variable `domain` makes it, by the tag that it writes."""
    # What the world's DNS and its list of authorities are elsewhere.
    known = f"echo 127.0.0.1 {DOMAIN} | sudo tee --append /etc/hosts"
    trusted = "sudo tee /usr/local/share/ca-certificates/authority.crt && sudo update-ca-certificates"
    for command, given in ((known, ""), (trusted, authority.root)):
        done = subprocess.run(
            host.ssh(up.target, up.host, command), input=given, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    try:
        given = {"stack_acme_directory": f"https://{AUTHORITY}/dir", "stack_acme_root": authority.api}
        _configure(up, DOMAIN, "--tags", "base,stack", **given)
        yield
    finally:
        _configure(up, "", "--tags", "base,stack")
        up.ssh(
            f"sudo sed -i '/{DOMAIN}/d' /etc/hosts; sudo rm /usr/local/share/ca-certificates/authority.crt;"
            " sudo update-ca-certificates --fresh; sudo rm /etc/comentarios/acme_root.pem;"
            # Another authority of this name would not know them.
            " sudo rm -r /etc/letsencrypt /var/lib/comentarios-edge/certificates/*"
        )


def _configure(up, name: str, *options: str, **variables: str) -> None:
    ec2 = terraform.client(up.target, "ec2")
    ec2.create_tags(Resources=[up.host.instance_id], Tags=[{"Key": "edge_domain", "Value": name}])
    done = up.play(*options, **variables, stack_watch_seconds=0)
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.fixture
def curl(up, domain, authority, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """Asks the site by its name from outside, trusting the authority alone: status, head and body."""
    root = tmp_path / "root.pem"
    root.write_text(authority.root)

    def ask(url: str, *options: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [
                *("curl", "--silent", "--show-error", "--include", "--http1.1", "--cacert", root, *options),
                *("--resolve", f"{DOMAIN}:443:{up.host.address}", "--resolve", f"{DOMAIN}:80:{up.host.address}", url),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
        return int(head.split()[1]), head.lower(), body

    return ask


def test_without_a_dns_record_the_certificate_is_pending(up):
    """The first `make up` with a domain: nobody knows the host's address before it, so there can be no record yet."""
    leftover = "/usr/local/bin/comentarios-certificate"
    old = "/etc/systemd/system/comentarios-heal.timer"
    timer = "[Timer]\\nOnActiveSec=1h\\n[Install]\\nWantedBy=timers.target"
    before = f"printf '{timer}' | sudo tee {old} && sudo systemctl daemon-reload && sudo systemctl enable --now {old}"
    before += f" && sudo systemctl disable --now comentarios-backup.timer && sudo touch {leftover}"
    prepared = up.ssh(f"{before} && systemctl is-active comentarios-heal.timer")
    assert prepared.returncode == 0, prepared.stderr
    _configure(up, DOMAIN, "--tags", "stack,backup", stack_acme_directory="https://nowhere.example.test/dir")
    units = ("comentarios-heal.service", *(f"comentarios-{one}.timer" for one in ("backup", "logs", "certbot")))
    active = up.ssh(f"systemctl is-active {' '.join(units)} comentarios-heal.timer").stdout.split()
    assert active == ["active"] * len(units) + ["inactive"]
    assert up.ssh(f"test ! -e {leftover} -a ! -e {old}").returncode == 0
    status = up.make("status")
    assert status.returncode == 0 and "UNHEALTHY" not in status.stdout, status.stdout
    record = f"create the DNS record `{DOMAIN} A {host.chosen(up.target).public}`"
    assert f"pending    {up.host.name} certificate  {record}" in status.stdout


def test_https_with_a_certificate_that_is_checked(curl):
    thread = uuid.uuid4().hex
    comment = json.dumps({"email": "alice@example.com", "comment": "in private", "content_id": thread})
    post = ("-X", "POST", "-H", "Content-Type: application/json", "-d", comment)
    assert curl(f"https://{DOMAIN}/api/comment/new", *post)[0] == 200
    status, head, body = curl(f"https://{DOMAIN}/api/comment/list/{thread}")
    assert status == 200 and json.loads(body) == [{"email": "alice@example.com", "comment": "in private"}]
    assert "strict-transport-security: max-age=31536000" in head
    assert "x-content-type-options: nosniff" in head and "\nserver:" not in head
    assert curl(f"https://{DOMAIN}/metrics")[0] == 404


def test_plain_http_leads_to_https(curl):
    status, head, _ = curl(f"http://{DOMAIN}/api/comment/list/domain")
    assert status in (301, 308)
    assert f"location: https://{DOMAIN}/api/comment/list/domain" in head


def test_another_name_is_not_served(up, domain):
    """A scanner that knows the address alone gets no certificate, and so no site."""
    with pytest.raises(ssl.SSLError):
        ssl.get_server_certificate((up.host.address, 443), timeout=10)


def test_certificate_is_watched(up, domain):
    """The host's own check takes it, and Prometheus gets to know until when."""
    done = up.ssh("sudo systemctl start comentarios-certbot.service")
    assert done.returncode == 0, done.stderr
    metrics = up.ssh("cat /var/lib/node_exporter/textfile/certificate.prom").stdout
    assert f'comentarios_certificate_valid{{domain="{DOMAIN}"}} 1' in metrics
    expiry = re.search(rf'comentarios_certificate_expiry_timestamp_seconds{{domain="{DOMAIN}"}} (\d+)', metrics)
    assert 0 < int(expiry[1]) - time.time() < 86400


def test_certificate_outlives_the_edge(up, curl):
    """A new container serves the same one: authorities limit how many they issue."""
    served = f"openssl s_client -connect 127.0.0.1:443 -servername {DOMAIN} </dev/null 2>/dev/null"
    serial = f"{served} | openssl x509 -noout -serial"
    before = up.ssh(serial).stdout
    assert before.startswith("serial=")
    done = up.ssh("cd /opt/comentarios && sudo docker compose up -d --no-deps --force-recreate --wait edge", timeout=90)
    assert done.returncode == 0, done.stderr
    assert curl(f"https://{DOMAIN}/readyz", "--retry", "10", "--retry-connrefused")[0] == 200
    assert up.ssh(serial).stdout == before


def test_verbs_know_the_domain(up, domain):
    status = up.make("status")
    assert status.returncode == 0 and f"https://{DOMAIN}/" in status.stdout, status.stdout


def test_files_of_the_edge_are_its_own(up, domain):
    """The key of the certificate is root's, and the edge's group alone can read it: the edge plants nothing there."""
    kept = up.ssh(
        "sudo find /var/lib/comentarios-edge/certificates -type f -printf '%m %U %G %f\\n'"
    ).stdout.splitlines()
    assert kept == [f"640 0 10003 {DOMAIN}.pem"]


def test_renewed_certificate_is_served_and_cuts_no_connection(up, curl, domain):
    """What certbot's timer does: an edge that has another certificate gets the newest one."""
    served = (
        f"openssl s_client -connect 127.0.0.1:443 -servername {DOMAIN} </dev/null 2>/dev/null | openssl x509 -serial"
    )
    before = up.ssh(served).stdout
    renewed = up.ssh(
        "sudo env REQUESTS_CA_BUNDLE=/etc/comentarios/acme_root.pem"
        f" certbot renew --no-random-sleep-on-renew --force-renewal --cert-name {DOMAIN}"
        " && sudo systemctl start comentarios-certbot.service"
    )
    assert renewed.returncode == 0, renewed.stdout + renewed.stderr
    assert up.ssh(served).stdout != before
    assert curl(f"https://{DOMAIN}/readyz")[0] == 200
