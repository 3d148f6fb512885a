"""``make up``, ``make down``, ``make clean`` and ``make plan``."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from cli import doctor, host, image, program, release, sandbox, settings, terraform
from cli.targets import Target
from common import apt, engine, row
from common import images as local_images
from common.config import Config
from common.docker import INSTANCE_TYPES, architecture
from common.errors import CommandError
from common.paths import ROOT, STATE
from common.progress import say, step

TOOLS = {
    "git": "install git",
    "ssh": "install openssh-client",
    "ssh-keygen": "install openssh-client",
}


def up(target: Target, tag: str = "", rebuild: str = "", watch: str = "", ready: str = "", edge_port: str = "") -> None:
    """Creates everything that is missing in the target. The live image stays live."""
    begin, lasted = time.monotonic(), target.state / "up-seconds"
    say(_announcement(target, lasted))
    preflight(target)
    # The state folder holds private files of Terraform, Ansible and SSH.
    os.umask(0o077)
    settings.apply(target)
    if target.sandbox:
        sandbox.run("start")
        # The first start created the keys.
        target.variables.update(target.sandbox.credentials())
        _variables(target, target.sandbox)
        # Terraform mostly waits, so the images are built at the same time.
        with ThreadPoolExecutor() as pool:
            images = pool.submit(_images, target, tag)
            terraform.apply(target)
            images.result()
        sandbox.run("sync")
    else:
        terraform.apply(target)
    release.play(target, "site", "site.yml", watch, ready, stack_api_tag=_tag(target, tag, rebuild == "yes"))
    seconds = time.monotonic() - begin
    lasted.write_text(f"{seconds:.0f}")
    say(f"✓ up in {seconds:.0f} s")
    urls(target, edge_port)


def _announcement(target: Target, lasted: Path) -> str:
    """What will happen, and how long it took the last time."""
    where = "a sandbox of AWS on this machine" if target.is_sandbox else "AWS"
    took = f"took {lasted.read_text()} s last time" if lasted.exists() else "takes about four minutes the first time"
    logs = os.path.relpath(target.state / "logs", Path.cwd())
    return (
        f"▸ make up: {where}, its host by Terraform, the API's image, the host's configuration by Ansible; {took}\n"
        f"  details: V=1 prints them, {logs}/ keeps them; after Ctrl-C, run the same command again"
    )


def _images(target: Target, tag: str) -> None:
    """Builds all images: the sandbox's, the stack's and the API's."""
    sandbox.run("build")
    if not tag and not host.hosts(target):
        image.prepare(target)


def _tag(target: Target, tag: str, rebuild: bool) -> str:
    """The tag to run: the given one, or the live one (empty: each host keeps its own), or the working tree's.

    Only `make release` rolls out the working tree. `make up` from a branch must not release the branch, and after a
    rollback it must not release the bad version again.
    """
    host.greet(target)
    if tag:
        return image.ensure(target, tag)
    live = release.live(target)
    if not any(live.values()):
        return image.ensure(target, rebuild=rebuild)
    say(_compared(live))
    return "" if all(live.values()) else next(filter(None, live.values()))


def _compared(live: dict[str, str]) -> str:
    """Compares the live image with the working tree's."""
    tags, wanted = sorted(set(filter(None, live.values()))), image.tree_tag()
    other = "" if tags == [wanted] else f"; the working tree is {wanted}: `make release` rolls it out"
    return f"▸ image: {', '.join(tags)} stays live{other}"


def urls(target: Target, edge_port: str) -> None:
    """Prints the URLs."""
    first = host.chosen(target)
    edge = host.edge(target, first)
    say(f"  API         {edge}/api/comment/list/1 (documentation: {edge}/docs)")
    if target.is_sandbox and edge_port and edge.startswith("http://127.0.0.1:") and not edge.endswith(f":{edge_port}"):
        say(f"              EDGE_PORT={edge_port} applies to new hosts: this one keeps its port")
    say("  Prometheus, Alertmanager, Grafana: `make tunnel`")
    say(f"  host        `make ssh` ({first.name}, {first.instance_id})")
    variables = target.state / "inventory" / "group_vars" / "all.yml"
    if target.is_sandbox and "grafana_enabled: false" in variables.read_text():
        say("  Grafana     not running: its image is not available (set GRAFANA_IMAGE)")


def down(target: Target, delete_data: str = "", *, images: bool = False) -> None:
    """Removes what ``up`` created: everything in the sandbox; on AWS the host, after a confirmation.

    Args:
        images: whether to remove the built images, too; otherwise they stay as a cache.
    """
    host.end_connections(target)
    if target.is_sandbox:
        if target.state.exists() or engine.answers():
            if not engine.answers():
                raise CommandError(
                    "no Docker Engine answers, so nothing was removed: start it, then run the same command again"
                )
            sandbox.run("down")
            if images:
                local_images.remove_all()
        engine.stop(STATE / "engine")
        for folder in (terraform.BOOTSTRAP, terraform.HOST):
            shutil.rmtree(folder / ".terraform" / target.state.name, ignore_errors=True)
        shutil.rmtree(target.state, ignore_errors=True)
        return
    _down_on_aws(target, delete_data == "yes")


def _down_on_aws(target: Target, delete: bool) -> None:
    """Removes the host. The comments' volume and the backups stay unless they are to be deleted, too."""
    terraform.prepare(target)
    bucket = terraform.bucket_name(target)
    what = (
        "the host, the comments and their backups" if delete else "the host; the comments' volume and the backups stay"
    )
    confirm(f"This removes {what}.")
    terraform.init(target, bucket)
    # Parked in both cases: otherwise a parked host would be created only to be removed.
    change = ["-var", "parked=true", *(["-var", "delete_data=true"] if delete else [])]
    terraform.run(target, terraform.HOST, "apply", "-input=false", "-auto-approve", *change)
    if delete:
        terraform.run(target, terraform.HOST, "destroy", "-input=false", "-auto-approve", *change)
    else:
        say("  kept: the data volume and the backups; DELETE_DATA=yes would remove them")
    say(f"  kept: s3://{bucket} and ECR (terraform/bootstrap), which hold the state and the images")


def clean(target: Target, delete_data: str) -> None:
    """``down``, and the removal of the built images."""
    down(target, delete_data, images=True)


def plan(target: Target) -> int:
    """Shows what would change: Terraform's plan, and Ansible's --check --diff."""
    settings.apply(target)
    terraform.prepare(target)
    terraform.init(target, terraform.bucket_name(target))
    terraform.run(target, terraform.HOST, "plan", "-input=false")
    host.greet(target)
    say(_compared(release.live(target)))
    command = ["ansible-playbook", "site.yml", "--check", "--diff"]
    return subprocess.run(command, cwd=ROOT, env=target.environment(), check=False).returncode


def confirm(what: str) -> None:
    """Asks the user to type the project's name before something is removed.

    Raises:
        CommandError: the name was not typed, or standard input is closed.
    """
    try:
        typed = input(f"{what} Type the project's name (comentarios) to continue: ")
    except EOFError:
        typed = ""
    if typed.strip() != "comentarios":
        raise CommandError("nothing was removed: the name was not typed")


def preflight(target: Target) -> None:
    """Checks everything that would make a later step fail.

    Raises:
        CommandError: a tool is missing, no engine answers, or AWS does not accept the credentials.
    """
    _tools()
    program.ensure()
    engine.ensure(STATE / "engine")
    row.require(doctor.quick(target))
    if not target.is_sandbox:
        say(f"▸ AWS account {terraform.account(target)}")


def _tools() -> None:
    missing = [name for name in TOOLS if not shutil.which(name)]
    if "ssh" in missing and apt.may_install():
        with step("installing openssh-client"), contextlib.suppress(CommandError):
            apt.install("openssh-client")
        missing = [name for name in TOOLS if not shutil.which(name)]
    if missing:
        raise CommandError(f"{missing[0]} is missing: {TOOLS[missing[0]]} and put it on the PATH")


def _variables(target: Target, config: Config) -> None:
    """Creates a key pair for SSH, and writes the values of Terraform's variables."""
    key = target.state / "ssh" / "id_ed25519"
    key.parent.mkdir(parents=True, exist_ok=True)
    if not key.exists():
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "comentarios-sandbox", "-f", str(key)], check=True
        )
    values: dict[str, Any] = {
        "instance_type": INSTANCE_TYPES[architecture()],
        "admin_cidrs": [f"{config.gateway}/32"],
        "ssh_address": "private",
        "ssh_public_key": key.with_suffix(".pub").read_text().strip(),
        "vpc_cidr": str(config.subnet),
    }
    values |= settings.read(target).terraform
    _fits(target, values["instance_type"])
    target.tfvars.write_text(json.dumps(values, indent=2))


def _fits(target: Target, kind: str) -> None:
    """Compares an instance type with the engine, before there is an instance that cannot become another.

    Raises:
        CommandError: it has another architecture.
    """
    here = architecture()
    try:
        (known,) = terraform.client(target, "ec2").describe_instance_types(InstanceTypes=[kind])["InstanceTypes"]
    except ClientError:
        # Terraform has a better message.
        return
    found = known["ProcessorInfo"]["SupportedArchitectures"]
    if here not in found:
        raise CommandError(
            f"instance_type {kind} is {found[-1]}, and this machine's engine is {here}: set one of {here}, such as "
            f"{INSTANCE_TYPES[here]}"
        )
