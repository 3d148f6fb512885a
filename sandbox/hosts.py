"""EC2 hosts: a container with systemd, sshd and room for its own Docker Engine for every instance of the EC2 API.

A host or a volume is removed because the API was told to terminate or delete it, never because a list does not name it.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sandbox import capabilities, ec2, files, keys
from sandbox.config import Config
from sandbox.docker import docker, inspect
from sandbox.errors import SandboxError

INSTANCE_LABEL = "comentarios.instance"
# An architecture as EC2 calls it → an instance type that has it.
TYPES = {"x86_64": "t3.small", "arm64": "t4g.small"}


def names(config: Config) -> dict[str, dict[str, Any]]:
    """The containers that are hosts of this sandbox: instance id → ``docker inspect``."""
    listed = docker(
        *(
            "ps",
            "--all",
            "--quiet",
            "--filter",
            f"label={config.label}",
            "--filter",
            f"label={INSTANCE_LABEL}",
        )
    ).split()
    if not listed:
        return {}
    found = json.loads(docker("container", "inspect", *listed, check=False) or "[]")
    return {host["Config"]["Labels"][INSTANCE_LABEL]: host for host in found}


def recognise(config: Config, known: set[str], count: int) -> None:
    """Sees that the APIs know what there is.

    Args:
        known: every EC2 instance that was ever made.
        count: how many changing requests the journal has.

    Raises:
        SandboxError: there is a host that they do not know, or a volume though they were never told anything.
    """
    found = [f"host {identity}" for identity in sorted(names(config).keys() - known)]
    if not count and (volume := has_volumes(config)):
        found.append(f"volume {volume}")
    if found:
        raise SandboxError(
            f"the AWS APIs know nothing of {found[0]}, which may hold comments: {config.state}/aws.journal is not the "
            "one that it was made from. Put that one back, or `make down` removes the sandbox with its data; nothing "
            "was changed or removed"
        )


def sync(config: Config, image: str, deleted: Iterable[str] = ()) -> list[str]:
    """Makes the hosts what the EC2 API lists, and says what it did, a line each.

    Safe to run beside another one of its kind; what an interrupted one left half-made is made anew.

    Args:
        deleted: EBS volumes that the API was told to delete: their files are removed.

    Raises:
        SandboxError: a host cannot be made or started (its port is taken, say).
    """
    with _alone(config):
        wanted = {instance.id: instance for instance in ec2.instances(config)}
        present = names(config)
        done = []
        gone = present.keys() - wanted.keys()
        for identity in gone & ec2.terminated(config) if gone else ():
            _remove(config, identity)
            done.append(f"{identity}: terminated, its host is removed")
        for identity, instance in wanted.items():
            host = present.get(identity)
            status = host["State"]["Status"] if host else "absent"
            if host and status == "created":  # an interrupted start: what it holds is not known
                docker("rm", "--force", host["Name"].lstrip("/"))
                status = "absent"
            if status == "absent" and instance.state == "running":
                _make(config, instance, image)
                done.append(f"{identity}: {instance.type} host at {instance.private_ip} started")
            elif status in {"exited", "dead"} and instance.state == "running":
                docker("start", _name(config, identity))
                done.append(f"{identity}: host started")
            elif status in {"running", "restarting"} and instance.state == "stopped":
                docker("stop", _name(config, identity))
                done.append(f"{identity}: host stopped")
            if instance.state == "running":
                for volume, size in instance.volumes:
                    docker("exec", _name(config, identity), "sandbox-attach", volume, str(size))
        _delete_volumes(config, image, set(deleted))
        return done


def remove_all(config: Config, image: str) -> None:
    """Removes every host and every EBS volume of this sandbox, whatever the EC2 API says."""
    for identity in names(config):
        _remove(config, identity)
    if inspect("volume", _volumes_name(config)):
        _detach(config, image)


def architecture() -> str:
    """The engine's architecture, which is that of every host and image, as EC2 calls it.

    Raises:
        SandboxError: EC2 has none such.
    """
    machine = docker("info", "--format", "{{.Architecture}}").strip()
    found = {"aarch64": "arm64"}.get(machine, machine)
    if found not in TYPES:
        raise SandboxError(
            f"the Docker Engine is {machine}, and EC2 has {' and '.join(TYPES)} alone: use another machine"
        )
    return found


def has_volumes(config: Config) -> str | None:
    """The Docker volume of the EBS volumes, where there is one."""
    return _volumes_name(config) if inspect("volume", _volumes_name(config)) else None


def _volumes_name(config: Config) -> str:
    return f"{config.name}-ebs"


def _delete_volumes(config: Config, image: str, deleted: set[str]) -> None:
    """Deletes the files of EBS volumes, and frees the machine's loop devices behind them; once for each."""
    record = config.state / "ebs-deleted.json"
    done = set(json.loads(record.read_text())) if record.exists() else set()
    if not deleted <= done:
        if inspect("volume", _volumes_name(config)):
            _detach(config, image, *sorted(deleted - done))
        files.write(record, json.dumps(sorted(done | deleted)))


def _detach(config: Config, image: str, *volumes: str) -> None:
    """Deletes the files of volumes, of all when none is named, and frees their loop devices."""
    docker(
        *("run", "--rm", "--network", "none", "--cap-add", "SYS_ADMIN", "--cap-add", "MKNOD"),
        *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
        *("--device-cgroup-rule", "b 7:* rwm", "--volume", f"{_volumes_name(config)}:/var/lib/sandbox-ebs"),
        *("--entrypoint", "sandbox-detach", image, *volumes),
    )


def _make(config: Config, instance: ec2.Instance, image: str) -> None:
    if instance.architecture != (here := architecture()):
        raise SandboxError(
            f"{instance.id} is a {instance.type}, which is {instance.architecture}, and this machine's engine is "
            f"{here}: take a type of {here}, such as {TYPES[here]}"
        )
    name = _name(config, instance.id)
    for volume in (f"{name}-docker", _volumes_name(config)):
        docker("volume", "create", "--label", config.label, volume)
    edge_taken = any(
        binding["HostPort"] == str(config.edge_port)
        for host in names(config).values()
        for bindings in (host["HostConfig"]["PortBindings"] or {}).values()
        for binding in bindings
    )
    # An engine refuses more than its machine has.
    cpus = min(instance.cpus, int(docker("info", "--format", "{{.NCPU}}")))
    capabilities.create(
        *("--name", name, "--hostname", instance.hostname),
        *(
            "--label",
            config.label,
            "--label",
            f"{INSTANCE_LABEL}={instance.id}",
            "--restart",
            "unless-stopped",
        ),
        *("--network", config.name, "--ip", instance.private_ip),
        *([] if edge_taken else ["--publish", f"127.0.0.1:{config.edge_port}:80"]),
        # As much as the instance type has, so that what fits it is tried and not hoped.
        *(
            "--memory",
            f"{instance.memory}m",
            "--memory-swap",
            f"{instance.memory}m",
            "--cpus",
            str(cpus),
        ),
        # What else a Docker Engine inside needs, short of --privileged, which some machines cannot give.
        *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
        *("--security-opt", "systempaths=unconfined"),
        *("--device-cgroup-rule", "a *:* rwm", "--cgroupns", "private"),
        *("--tmpfs", "/run:exec", "--tmpfs", "/run/lock", "--volume", f"{name}-docker:/var/lib/docker"),
        *("--volume", f"{_volumes_name(config)}:/var/lib/sandbox-ebs"),
        image,
    )
    seed, metadata = (
        "var/lib/cloud/seed/nocloud",
        {"instance-id": instance.id, "local-hostname": instance.hostname},
    )
    content = {
        f"{seed}/meta-data": json.dumps(metadata | {"public-keys": list(instance.public_keys)}),
        f"{seed}/user-data": ec2.user_data(config, instance) or "#cloud-config\n{}\n",
        "usr/local/share/ca-certificates/sandbox-ca.crt": (config.state / "ca.pem").read_text(),
        # On AWS the clients find the APIs by the region's public names; here by this.
        # On a busy machine the metadata take longer than the second and the one try that boto3 gives them.
        "root/.aws/config": (
            f"[default]\nregion = {instance.zone[:-1]}\nendpoint_url = {config.endpoint}\n"
            "metadata_service_timeout = 5\nmetadata_service_num_attempts = 5\n"
        ),
    }
    files.copy_into(name, content)
    # For root alone: with it, whoever is on the network could ask in the host's name.
    proof = keys.load(config.state).proof(instance.id)
    environment = f"METADATA_ADDRESS={config.gateway}:{config.metadata_port}\nMETADATA_PROOF={proof}\n"
    files.copy_into(name, {"etc/sandbox/environment": environment}, mode=0o600)
    docker("start", name)


def _remove(config: Config, identity: str) -> None:
    name = _name(config, identity)
    docker("rm", "--force", "--volumes", name)
    docker("volume", "rm", "--force", f"{name}-docker")


def _name(config: Config, identity: str) -> str:
    return f"{config.name}-{identity}"


@contextmanager
def _alone(config: Config) -> Iterator[None]:
    with (config.state / "sync.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
