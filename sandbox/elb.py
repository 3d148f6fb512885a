"""Application Load Balancers: a container with HAProxy for each one that the ELBv2 API lists.

It balances as AWS documents it: in turn over the targets that pass their health checks, over all of them if none does
(fail open), ten seconds to connect, and no second try with another target. Listeners forward to one target group of
instances, or redirect.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

from common import files
from common.aws import client
from common.config import Config, stored
from common.docker import copy_into, docker, inspect
from common.errors import CommandError
from sandbox import ec2, images

FOLDER, USER = "usr/local/etc/haproxy", 99  # as in images/Dockerfile
# Not `docker kill`, after which the engine would not start it again at boot.
RELOAD = "kill -USR2 1"
HEAD = """\
# Made by sandbox/elb.py from what the ELBv2 API says.
global
    log stdout format raw daemon notice
    maxconn 4000
    # How long requests to a deregistered target may take.
    hard-stop-after {delay}s
defaults
    mode http
    log global
    option forwardfor
    option idle-close-on-response
    timeout connect 10s
    retries 0
    timeout client {idle}s
    timeout server {idle}s
    timeout http-request {idle}s
"""
# A backend's time to connect is that of its checks, too: they have a backend of their own, which the first one follows.
GROUP = """\
backend checks-{name}
    option httpchk GET {check[HealthCheckPath]}
    http-check expect status {check[Matcher][HttpCode]}
    timeout connect {check[HealthCheckTimeoutSeconds]}s
    timeout check {check[HealthCheckTimeoutSeconds]}s
    default-server check inter {check[HealthCheckIntervalSeconds]}s
    default-server fall {check[UnhealthyThresholdCount]} rise {check[HealthyThresholdCount]}
"""

Described = dict[str, Any]  # as the API describes it


def balancers(config: Config) -> list[Described]:
    """Those with a listener, each with its `Region`, its `Listeners`, and the `Address` that its DNS name leads to."""
    return [one for region in ec2.regions(config) for one in _balancers(config, region)]


def _balancers(config: Config, region: str) -> Iterator[Described]:
    elb = client(config, "elbv2", region)
    for one in elb.describe_load_balancers()["LoadBalancers"]:
        listeners = elb.describe_listeners(LoadBalancerArn=one["LoadBalancerArn"])["Listeners"]
        ids = [zone["SubnetId"] for zone in one["AvailabilityZones"]]
        subnets = client(config, "ec2", region).describe_subnets(SubnetIds=ids)["Subnets"]
        first = min(ipaddress.IPv4Network(subnet["CidrBlock"]) for subnet in subnets)
        # The last address of a subnet, which AWS gives to no instance.
        if listeners:
            yield one | {"Region": region, "Listeners": listeners, "Address": str(first.broadcast_address)}


def made(config: Config) -> bool:
    """Whether there are load balancers."""
    return any((config.state / "balancers").glob("*.json"))


def url(balancer: Described) -> str:
    """The URL of its first listener with TLS, or else of its first."""
    one = max(balancer["Listeners"], key=lambda listener: listener["Protocol"] == "HTTPS")
    return f"{one['Protocol'].lower()}://{balancer['Address']}:{one['Port']}".removesuffix(
        {"HTTP": ":80", "HTTPS": ":443"}[one["Protocol"]]
    )


def answers(balancer: Described) -> bool:
    """Whether its listeners accept connections."""
    for listener in balancer["Listeners"]:
        with socket.socket() as probe:
            probe.settimeout(3)
            if probe.connect_ex((balancer["Address"], listener["Port"])):
                return False
    return True


def sync(config: Config, certificate: Callable[[str], str]) -> list[str]:
    """Creates, reloads, starts and removes HAProxys as the API lists load balancers; returns a line for each change.

    Args:
        certificate: returns the certificate of ACM with this ARN, with its chain and key in PEM.

    Raises:
        CommandError: a listener does what is not supported, or its certificate is gone.
    """
    # Two regions may have one of the same name. No name has a dot.
    wanted = {stored(one["Region"], one["LoadBalancerName"]).replace("/", "."): one for one in balancers(config)}
    done = []
    records = config.state / "balancers"
    for record in records.glob("*.json"):
        if record.stem not in wanted:
            docker("rm", "--force", _container(config, record.stem))
            record.unlink()
            done.append(f"{record.stem}: deleted, its load balancer is removed")
    for name, balancer in wanted.items():
        record, container = records / f"{name}.json", _container(config, name)
        known = json.loads(record.read_text()) if record.exists() else {}
        content = _content(config, balancer, certificate, known)
        state = (inspect("container", container) or {}).get("State", {}).get("Status", "absent")
        if state == "running" and content == known:
            continue
        if state == "absent":
            image = images.ensure(config, "haproxy", images.chosen(config)["base"])
            docker(
                *("create", "--name", container, "--label", config.label, "--restart", "unless-stopped"),
                *("--network", config.name, "--ip", balancer["Address"], "--network-alias", balancer["DNSName"]),
                *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", image),
            )
        copy_into(container, content, uid=USER, mode=0o600)
        docker(*(("exec", container, "sh", "-c", RELOAD) if state == "running" else ("start", container)))
        files.write(record, json.dumps(content))
        done.append(f"{name}: load balancer at {url(balancer)} {'changed' if state == 'running' else 'started'}")
    return done


def configuration(balancer: Described, groups: list[Described], idle: str) -> str:
    """HAProxy's configuration.

    Args:
        groups: target groups, each with its `Delay` of deregistration in seconds, and with the name, the address with
            its port and the port for checks of each of its `Servers`.
        idle: the load balancer's idle timeout in seconds.
    """
    names = {group["TargetGroupArn"]: group["TargetGroupName"] for group in groups}
    delay = max([1, *(int(group["Delay"]) for group in groups)])
    parts = [HEAD.format(delay=delay, idle=idle)]
    for listener in balancer["Listeners"]:
        port, scheme, action, tls = listener["Port"], listener["Protocol"].lower(), listener["DefaultActions"][0], ""
        if scheme == "https":
            least = "TLSv1.3" if "TLS13-1-3" in listener["SslPolicy"] else "TLSv1.2"
            tls = f" ssl crt /{FOLDER}/{port}.pem ssl-min-ver {least} alpn h2,http/1.1"
        parts.append(f"frontend listener-{port}\n    bind :{port}{tls}\n")
        parts.append(f"    http-request set-header X-Forwarded-Proto {scheme}\n")
        if action["Type"] == "redirect":
            to, where = action["RedirectConfig"], "%[req.hdr(host),host_only]"
            location = f"{to['Protocol'].lower()}://{where}:{to['Port']}%[pathq]"
            parts.append(f"    http-request redirect location {location} code {to['StatusCode'][-3:]}\n")
        elif name := names.get(action.get("TargetGroupArn", "")):
            parts.append(f"    use_backend any-{name} if {{ nbsrv({name}) eq 0 }}\n    default_backend {name}\n")
        else:
            raise CommandError(f"load balancer {balancer['LoadBalancerName']}: port {port} must forward or redirect")
    for group in groups:
        name, servers = group["TargetGroupName"], group["Servers"]
        parts.append(GROUP.format(name=name, check=group))
        parts += [f"    server {server} {address} port {port}\n" for server, address, port in servers]
        parts.append(f"backend {name}\n")
        parts += [f"    server {server} {address} track checks-{name}/{server}\n" for server, address, _ in servers]
        parts.append(f"backend any-{name}\n")
        parts += [f"    server {server} {address}\n" for server, address, _ in servers]
    return "".join(parts)


def _content(
    config: Config, balancer: Described, certificate: Callable[[str], str], known: dict[str, str]
) -> dict[str, str]:
    """The files of a load balancer's HAProxy by their paths."""
    elb, arn = client(config, "elbv2", balancer["Region"]), balancer["LoadBalancerArn"]
    running = {one.id: one.private_ip for one in ec2.instances(config) if one.state == "running"}
    groups = elb.describe_target_groups(LoadBalancerArn=arn)["TargetGroups"]
    for group in groups:
        of = {"TargetGroupArn": group["TargetGroupArn"]}
        group["Delay"] = _attributes(elb.describe_target_group_attributes(**of))["deregistration_delay.timeout_seconds"]
        group["Servers"] = []
        for target in (one["Target"] for one in elb.describe_target_health(**of)["TargetHealthDescriptions"]):
            if address := running.get(target["Id"]):
                port = target["Port"] if group["HealthCheckPort"] == "traffic-port" else group["HealthCheckPort"]
                server = (f"{target['Id']}-{target['Port']}", f"{address}:{target['Port']}", port)
                # As on AWS, a new target gets requests after it has passed one check.
                before = " ".join(server[:2]) in known.get(f"{FOLDER}/haproxy.cfg", "")
                if before or _passes(group, address, int(port)):
                    group["Servers"].append(server)
    attributes = _attributes(elb.describe_load_balancer_attributes(LoadBalancerArn=arn))
    idle = attributes.get("idle_timeout.timeout_seconds", "60")  # AWS's default
    content = {f"{FOLDER}/haproxy.cfg": configuration(balancer, groups, idle)}
    for listener in balancer["Listeners"]:
        for one in listener.get("Certificates", [])[:1]:
            if not (pem := certificate(one["CertificateArn"])):
                raise CommandError(f"{balancer['LoadBalancerName']}: ACM has no {one['CertificateArn']}")
            content[f"{FOLDER}/{listener['Port']}.pem"] = pem
    return content


def _passes(group: Described, address: str, port: int) -> bool:
    """Whether a health check succeeds."""
    connection = http.client.HTTPConnection(address, port, timeout=group["HealthCheckTimeoutSeconds"])
    try:
        connection.request("GET", group["HealthCheckPath"])
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    ranges = [part.partition("-") for part in group["Matcher"]["HttpCode"].split(",")]
    return any(int(least) <= status <= int(most or least) for least, _, most in ranges)


def _attributes(described: Described) -> dict[str, str]:
    return {one["Key"]: one["Value"] for one in described["Attributes"]}


def _container(config: Config, name: str) -> str:
    return f"{config.name}-elb-{name}"
