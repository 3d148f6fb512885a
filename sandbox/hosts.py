"""EC2 hosts: for every instance a container with systemd, sshd and its own Docker Engine.

A host or a volume is removed only after the API was told to terminate or delete it, never because a list lacks it.
"""

import fcntl
import json
from collections.abc import Iterable
from typing import Any

from common import architecture, files, keys
from common.config import Config
from common.docker import copy_into, docker, inspect
from common.errors import CommandError
from sandbox import capabilities, ec2

INSTANCE_LABEL = "comentarios.instance"


def names(config: Config) -> dict[str, dict[str, Any]]:
    """This sandbox's hosts: instance id → ``docker inspect`` of its container."""
    listed = _list(config, "--quiet").split()
    if not listed:
        return {}
    found = json.loads(docker("container", "inspect", *listed, check=False) or "[]")
    return {host["Config"]["Labels"][INSTANCE_LABEL]: host for host in found}


def states(config: Config) -> str:
    """This sandbox's hosts, and whether they run: what changes without a request."""
    return _list(config, "--format", "{{.ID}} {{.State}}")


def _list(config: Config, *form: str) -> str:
    label = ("--filter", f"label={config.label}", "--filter", f"label={INSTANCE_LABEL}")
    return docker("ps", "--all", *label, *form)


def recognise(config: Config, known: set[str], count: int) -> None:
    """Checks that the APIs know every host and volume.

    Args:
        known: every EC2 instance that was ever created.
        count: how many changing requests are in the journal.

    Raises:
        CommandError: there is a host that the APIs do not know, or a volume although the journal is empty.
    """
    found = [f"host {identity}" for identity in sorted(names(config).keys() - known)]
    if not count and (volume := has_volumes(config)):
        found.append(f"volume {volume}")
    if found:
        raise CommandError(
            f"the AWS APIs do not know {found[0]}, which may hold comments: {config.state}/aws.journal is the wrong "
            "file. Restore the right one, or remove the sandbox and its data with `make down`; nothing was changed or "
            "removed"
        )


def sync(
    config: Config, image: str, deleted: Iterable[str] = (), attached: set[tuple[str, str]] | None = None
) -> list[str]:
    """Creates, starts, stops and removes hosts as the EC2 API lists them; returns a line for each change.

    It may run twice at the same time. A host that an interrupted run left half-created is created again.

    Args:
        deleted: EBS volumes that were deleted through the API; their files are removed.
        attached: the container and the volume of each one that earlier calls attached. It stays so: a host attaches
            them by itself at every boot.

    Raises:
        CommandError: a host cannot be created or started; for example, its port is in use.
    """
    attached = set() if attached is None else attached
    with (config.state / "sync.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
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
            if host and status == "created":  # an interrupted start: its content is unknown
                docker("rm", "--force", host["Name"].lstrip("/"))
                status = "absent"
            if status == "absent" and instance.state == "running":
                _make(config, instance, image)
                done.append(f"{identity}: {instance.type} host at {instance.private_ip} started")
            elif status in {"exited", "dead"} and instance.state == "running":
                docker("start", config.host_name(identity))
                done.append(f"{identity}: host started")
            elif status in {"running", "restarting"} and instance.state == "stopped":
                docker("stop", config.host_name(identity))
                done.append(f"{identity}: host stopped")
            if instance.state == "running":
                for volume, size in ec2.volumes(config, instance):
                    if host and (host["Id"], volume) in attached:
                        continue
                    docker("exec", config.host_name(identity), "sandbox-attach", volume, str(size))
                    if host:
                        attached.add((host["Id"], volume))
        _delete_volumes(config, image, set(deleted))
        return done


def remove_all(config: Config, image: str) -> None:
    """Removes all hosts and EBS volumes of this sandbox, whatever the EC2 API lists."""
    for identity in names(config):
        _remove(config, identity)
    if inspect("volume", _volumes_name(config)):
        _detach(config, image)


def has_volumes(config: Config) -> str | None:
    """The Docker volume that holds the EBS volumes, if it exists."""
    return _volumes_name(config) if inspect("volume", _volumes_name(config)) else None


def _volumes_name(config: Config) -> str:
    return f"{config.name}-ebs"


def _delete_volumes(config: Config, image: str, deleted: set[str]) -> None:
    """Deletes the files of EBS volumes and frees their loop devices, once for each volume."""
    record = config.state / "ebs-deleted.json"
    done = set(json.loads(record.read_text())) if record.exists() else set()
    if not deleted <= done:
        if inspect("volume", _volumes_name(config)):
            _detach(config, image, *sorted(deleted - done))
        files.write(record, json.dumps(sorted(done | deleted)))


def _detach(config: Config, image: str, *volumes: str) -> None:
    """Deletes the files of these volumes, or of all, and frees their loop devices."""
    docker(
        *("run", "--rm", "--network", "none", "--cap-add", "SYS_ADMIN", "--cap-add", "MKNOD"),
        *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
        *("--device-cgroup-rule", "b 7:* rwm", "--volume", f"{_volumes_name(config)}:/var/lib/sandbox-ebs"),
        *("--entrypoint", "sandbox-detach", image, *volumes),
    )


def _make(config: Config, instance: ec2.Instance, image: str) -> None:
    if instance.architecture != (here := architecture.of_engine()):
        raise CommandError(
            f"{instance.id} is a {instance.type}, which is {instance.architecture}, and this machine's engine is "
            f"{here}: set instance_type to one for {here}, such as {architecture.TYPES[here]}"
        )
    name = config.host_name(instance.id)
    for volume in (f"{name}-docker", _volumes_name(config)):
        docker("volume", "create", "--label", config.label, volume)
    edge_taken = any(
        binding["HostPort"] == str(config.edge_port)
        for host in names(config).values()
        for bindings in (host["HostConfig"]["PortBindings"] or {}).values()
        for binding in bindings
    )
    memory, cpus = ec2.size(config, instance)
    # An engine refuses more CPUs than the machine has.
    cpus = min(cpus, int(docker("info", "--format", "{{.NCPU}}")))
    capabilities.create(
        *("--name", name, "--hostname", instance.hostname),
        *("--label", config.label, "--label", f"{INSTANCE_LABEL}={instance.id}", "--restart", "unless-stopped"),
        *("--network", config.name, "--ip", instance.private_ip),
        *([] if edge_taken else ["--publish", f"127.0.0.1:{config.edge_port}:80"]),
        # The instance type's memory, so that software that is too large for it also fails here.
        *("--memory", f"{memory}m", "--memory-swap", f"{memory}m", "--cpus", str(cpus)),
        # The other rights that a Docker Engine inside needs. Some machines cannot grant --privileged.
        *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
        *("--security-opt", "systempaths=unconfined"),
        *("--device-cgroup-rule", "a *:* rwm", "--cgroupns", "private"),
        *("--tmpfs", "/run:exec", "--tmpfs", "/run/lock", "--volume", f"{name}-docker:/var/lib/docker"),
        *("--volume", f"{_volumes_name(config)}:/var/lib/sandbox-ebs"),
        image,
    )
    seed = "var/lib/cloud/seed/nocloud"
    key = ec2.public_key(config, instance)
    metadata = {"instance-id": instance.id, "local-hostname": instance.hostname, "public-keys": [key] if key else []}
    content = {
        f"{seed}/meta-data": json.dumps(metadata),
        f"{seed}/user-data": ec2.user_data(config, instance) or "#cloud-config\n{}\n",
        "usr/local/share/ca-certificates/sandbox-ca.crt": (config.state / "ca.pem").read_text(),
        # On AWS, clients find the APIs by the region's public names; here, by this file. On a busy machine the
        # metadata service is slower than boto3's timeout of one second and single try allow.
        "root/.aws/config": (
            f"[default]\nregion = {instance.region}\nendpoint_url = {config.endpoint}\n"
            "metadata_service_timeout = 5\nmetadata_service_num_attempts = 5\n"
        ),
    }
    copy_into(name, content)
    # Readable by root only: it lets its reader ask the metadata service in the host's name.
    proof = keys.load(config.state).proof(instance.id)
    environment = f"METADATA_ADDRESS={config.gateway}:{config.metadata_port}\nMETADATA_PROOF={proof}\n"
    copy_into(name, {"etc/sandbox/environment": environment}, mode=0o600)
    docker("start", name)


def _remove(config: Config, identity: str) -> None:
    name = config.host_name(identity)
    docker("rm", "--force", "--volumes", name)
    docker("volume", "rm", "--force", f"{name}-docker")
