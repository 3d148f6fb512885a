"""``make up`` and ``make down``: everything, from nothing, and away again."""

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

from cli import doctor, engine, host, image, program, release, settings, terraform
from cli.errors import VerbError
from cli.targets import ROOT, STATE, Target
from sandbox import __main__ as sandbox
from sandbox import debian, ec2, hosts
from sandbox import images as sandbox_images
from sandbox.config import Config
from sandbox.progress import say, step

TOOLS = {
    "git": "install git",
    "ssh": "install openssh-client",
    "ssh-keygen": "install openssh-client",
}


def up(target: Target) -> None:
    """Makes everything of the target that is not there yet, and changes nothing that is; the live image stays live."""
    begin, lasted = time.monotonic(), target.state / "up-seconds"
    say(_announcement(target, lasted))
    preflight(target)
    # Terraform, Ansible and SSH keep things in the state folder that are nobody else's business.
    os.umask(0o077)
    settings.apply(target)
    if target.is_sandbox:
        config = Config()
        sandbox.start(config)
        # The first start made the keys.
        target.variables.update(config.credentials())
        doctor.require_path(config)
        _variables(target)
        # Terraform waits most of its time, so the images are built meanwhile.
        with ThreadPoolExecutor() as pool:
            images = pool.submit(_images, target)
            terraform.apply(target)
            images.result()
        with step("sandbox: the hosts that EC2 lists"):
            sandbox.sync(config)
    else:
        terraform.apply(target)
    release.play(target, "site", "site.yml", stack_api_tag=_tag(target))
    seconds = time.monotonic() - begin
    lasted.write_text(f"{seconds:.0f}")
    say(f"✓ up in {seconds:.0f} s")
    urls(target)


def _announcement(target: Target, lasted: Path) -> str:
    """What comes, and about how long it takes: as long as the last time, if there was one."""
    where = "a sandbox of AWS on this machine" if target.is_sandbox else "AWS"
    took = f"took {lasted.read_text()} s last time" if lasted.exists() else "takes about four minutes the first time"
    logs = os.path.relpath(target.state / "logs", Path.cwd())
    return (
        f"▸ make up: {where}, its host by Terraform, the API's image, the host's configuration by Ansible; {took}\n"
        f"  details: V=1 prints them, {logs}/ keeps them; Ctrl-C, and the same command later, lose nothing"
    )


def _images(target: Target) -> None:
    """Every image that this machine builds: the sandbox's, the stack's, the API's."""
    sandbox.build(Config())
    if not host.hosts(target):
        image.prepare(target)


def _tag(target: Target) -> str:
    """The image to run: TAG's, or else the live one (empty: each host's own), or else the working tree's.

    The working tree is released by `make release` alone: who changes an address from a branch does not mean to release
    the branch, nor who runs this after a rollback the release that was bad.
    """
    host.greet(target)
    if os.environ.get("TAG"):
        return image.ensure(target)
    live = release.live(target)
    if not any(live.values()):
        return image.ensure(target)
    say(_compared(live))
    return "" if all(live.values()) else next(filter(None, live.values()))


def _compared(live: dict[str, str]) -> str:
    """The live image beside the working tree's."""
    tags, wanted = sorted(set(filter(None, live.values()))), image.tag()
    other = "" if tags == [wanted] else f"; the working tree is {wanted}: `make release` rolls it out"
    return f"▸ image: {', '.join(tags)} stays live{other}"


def urls(target: Target) -> None:
    """Prints where things are."""
    first = host.chosen(target)
    edge = host.edge(target, first)
    say(f"  API         {edge}/api/comment/list/1 (documentation: {edge}/docs)")
    asked = os.environ.get("EDGE_PORT")
    if target.is_sandbox and asked and edge.startswith("http://127.0.0.1:") and not edge.endswith(f":{asked}"):
        say(f"              EDGE_PORT={asked} is for a host that is made new: this one keeps its port")
    say("  Prometheus, Alertmanager, Grafana: `make tunnel`")
    say(f"  host        `make ssh` ({first.name}, {first.instance_id})")
    variables = target.state / "inventory" / "group_vars" / "all.yml"
    if target.is_sandbox and "grafana_enabled: false" in variables.read_text():
        say(
            "  Grafana     not running: its image can neither be pulled nor is it in the local engine (GRAFANA_IMAGE=…)"
        )


def down(target: Target, images: bool = False) -> None:
    """Removes what ``up`` made: all of it in the sandbox; on AWS the host, after its name was typed.

    Args:
        images: whether the images that were built go too; they are kept as a cache otherwise.
    """
    host.end_connections(target)
    if target.is_sandbox:
        if target.state.exists() or engine.answers():
            if not engine.answers():
                raise VerbError(
                    "no Docker Engine answers, so nothing was removed and nothing forgotten: start it, then the same "
                    "command again"
                )
            sandbox.down(Config())
            if images:
                sandbox_images.remove_all()
        engine.stop(STATE / "engine")
        for folder in (terraform.BOOTSTRAP, terraform.HOST):
            shutil.rmtree(folder / ".terraform" / target.state.name, ignore_errors=True)
        shutil.rmtree(target.state, ignore_errors=True)
        return
    _down_on_aws(target)


def _down_on_aws(target: Target) -> None:
    """Takes the host away and keeps the comments' volume and the backups, unless DELETE_DATA=yes."""
    delete = os.environ.get("DELETE_DATA") == "yes"
    terraform.prepare(target)
    bucket = terraform.bucket_name(target)
    what = (
        "the host, the comments and their backups" if delete else "the host; the comments' volume and the backups stay"
    )
    confirm(f"This removes {what}.")
    terraform.init(target, bucket)
    # Parked in both cases: where it was before, the host would be made anew only to be removed.
    change = ["-var", "parked=true", *(["-var", "delete_data=true"] if delete else [])]
    terraform.run(target, terraform.HOST, "apply", "-input=false", "-auto-approve", *change)
    if delete:
        terraform.run(target, terraform.HOST, "destroy", "-input=false", "-auto-approve", *change)
    else:
        say("  kept: the data volume and the backups; DELETE_DATA=yes removes them, too")
    say(f"  kept: s3://{bucket} and ECR (terraform/bootstrap), which hold the state and the images")


def clean(target: Target) -> None:
    """``down``, and the images that were built."""
    down(target, images=True)


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
    """Has the project's name typed before something is removed.

    Raises:
        VerbError: it was not, or there is nobody to type it.
    """
    try:
        typed = input(f"{what} Type the project's name (comentarios) to go on: ")
    except EOFError:
        typed = ""
    if typed.strip() != "comentarios":
        raise VerbError("nothing was removed: the name was not typed")


def preflight(target: Target) -> None:
    """Everything that would make a later step fail, as one line now.

    Raises:
        VerbError: a tool is missing, no engine answers, or AWS does not accept the credentials.
    """
    _tools()
    program.ensure()
    engine.ensure(STATE / "engine")
    doctor.require(target)
    if not target.is_sandbox:
        say(f"▸ AWS account {terraform.account(target)}")


def _tools() -> None:
    missing = [name for name in TOOLS if not shutil.which(name)]
    if "ssh" in missing and debian.may_install():
        with step("installing openssh-client"), contextlib.suppress(debian.PackageError):
            debian.install("openssh-client")
        missing = [name for name in TOOLS if not shutil.which(name)]
    if missing:
        raise VerbError(f"{missing[0]} is missing: {TOOLS[missing[0]]} and put it on the PATH")


def _variables(target: Target) -> None:
    """What Terraform and SSH need of this machine: a key pair and the variables' values."""
    config = Config()
    key = target.state / "ssh" / "id_ed25519"
    key.parent.mkdir(parents=True, exist_ok=True)
    if not key.exists():
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "comentarios-sandbox", "-f", str(key)], check=True
        )
    values: dict[str, Any] = {
        "instance_type": hosts.TYPES[hosts.architecture()],
        "admin_cidrs": [f"{config.gateway}/32"],
        "ssh_address": "private",
        "ssh_public_key": key.with_suffix(".pub").read_text().strip(),
        "vpc_cidr": str(config.subnet),
    }
    values |= settings.read(target).terraform
    _fits(config, values["instance_type"])
    target.tfvars.write_text(json.dumps(values, indent=2))


def _fits(config: Config, kind: str) -> None:
    """Compares an instance type with the engine, before there is an instance that cannot become another.

    Raises:
        VerbError: it is of another architecture.
    """
    here = hosts.architecture()
    try:
        (known,) = ec2.client(config, "ec2").describe_instance_types(InstanceTypes=[kind])["InstanceTypes"]
    except ClientError:
        # Terraform says what is wrong with it.
        return
    found = known["ProcessorInfo"]["SupportedArchitectures"]
    if here not in found:
        raise VerbError(
            f"instance_type {kind} is {found[-1]}, and this machine's engine is {here}: set one of {here}, such as "
            f"{hosts.TYPES[here]}"
        )
