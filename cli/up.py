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

from cli import certificate, doctor, engine, host, image, people, program, release, settings, terraform
from cli.errors import VerbError
from cli.targets import ROOT, STATE, Target
from sandbox import __main__ as sandbox
from sandbox import debian, files, server
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
        _join(target)
        terraform.apply(target)
    release.play(target, "site", "site.yml", stack_api_tag=_tag(target))
    seconds = time.monotonic() - begin
    lasted.write_text(f"{seconds:.0f}")
    say(f"✓ up in {seconds:.0f} s")
    urls(target)


def _join(target: Target) -> None:
    """Enters the caller among those who may log in; where the variables are Terraform's own file, it alone counts."""
    if not target.older_tfvars:
        people.join(target, settings.read(target).terraform, terraform.client)


def _announcement(target: Target, lasted: Path) -> str:
    """What comes, and about how long it takes: as long as the last time, if there was one."""
    where = "a sandbox of AWS on this machine" if target.is_sandbox else "AWS"
    if target.names.suffix:
        where += f" ({target.names.given()})"
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
    for one in host.hosts(target):
        if one.domain and (reason := certificate.pending(one, host.run(target, one, certificate.probe(one)))):
            say(f"  certificate pending: {reason}")
    say("  Prometheus, Alertmanager, Grafana: `make tunnel`")
    say(f"  host        `make ssh` ({first.name}, {first.instance_id})")
    variables = Config().state / "inventory" / "group_vars" / "all.yml"
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
    if target.is_sandbox and target.names.suffix:
        _down_in_the_sandbox(target)
        return
    if target.is_sandbox:
        _refuse_others(target)
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


def _refuse_others(target: Target) -> None:
    """Sees that no other environment goes with the sandbox, unless DELETE_DATA=yes.

    Raises:
        VerbError: there is one: which.
    """
    config = Config()
    if os.environ.get("DELETE_DATA") == "yes" or not target.state.exists() or not server.answers(config):
        return
    if others := sorted(_networks(target).keys() - {target.names.name}):
        raise VerbError(
            f"{', '.join(others)} is in this sandbox, too: `ENV=… make down` first, or DELETE_DATA=yes removes it all"
        )


def _down_in_the_sandbox(target: Target) -> None:
    """Removes one environment of several, with its comments; the sandbox and the others stay."""
    config = Config()
    if target.state.exists() and not server.answers(config):
        raise VerbError("the sandbox's AWS APIs do not answer, so nothing was removed: `make up` starts them again")
    if target.tfvars.exists():
        terraform.prepare(target)
        bucket = terraform.bucket_name(target)
        if terraform.bucket_exists(target, bucket):
            _remove(target, bucket, delete=True)
        sandbox.sync(config)
    for folder in (terraform.BOOTSTRAP, terraform.HOST):
        shutil.rmtree(folder / ".terraform" / target.state.name, ignore_errors=True)
    shutil.rmtree(target.state, ignore_errors=True)


def _down_on_aws(target: Target) -> None:
    """Takes the host away and keeps the comments' volume and the backups, unless DELETE_DATA=yes."""
    delete = os.environ.get("DELETE_DATA") == "yes"
    terraform.prepare(target)
    bucket = terraform.bucket_name(target)
    what = (
        "the host, the comments and their backups" if delete else "the host; the comments' volume and the backups stay"
    )
    confirm(target, f"This removes {what}.")
    _remove(target, bucket, delete)


def _remove(target: Target, bucket: str, delete: bool) -> None:
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
    """``down``, and the images that were built.

    Raises:
        VerbError: an environment was named: what the Makefile removes afterwards is everybody's.
    """
    if target.names.suffix:
        raise VerbError(f"`make clean` removes everything: give it without {target.names.given()}, or take `make down`")
    down(target, images=True)


def plan(target: Target) -> int:
    """Shows what would change: Terraform's plan, and Ansible's --check --diff."""
    settings.apply(target)
    if not target.is_sandbox:
        _join(target)
    terraform.prepare(target)
    terraform.init(target, terraform.bucket_name(target))
    terraform.run(target, terraform.HOST, "plan", "-input=false")
    host.greet(target)
    say(_compared(release.live(target)))
    command = ["ansible-playbook", "site.yml", "--check", "--diff"]
    return subprocess.run(command, cwd=ROOT, env=target.environment(), check=False).returncode


def confirm(target: Target, what: str) -> None:
    """Has the project's name typed before something is removed.

    Raises:
        VerbError: it was not, or there is nobody to type it.
    """
    try:
        typed = input(f"{what} Type its name ({target.names.name}) to go on: ")
    except EOFError:
        typed = ""
    if typed.strip() != target.names.name:
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
        account = terraform.account(target)
        say(f"▸ AWS account {account}, {target.variables['AWS_REGION']}: {target.names.name}")


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
        "admin_cidrs": [f"{config.gateway}/32"],
        "ssh_address": "private",
        "ssh_public_key": key.with_suffix(".pub").read_text().strip(),
        "vpc_cidr": _vpc(target, config),
    }
    if os.environ.get("INSTANCE_TYPE"):
        values["instance_type"] = os.environ["INSTANCE_TYPE"]
    values |= settings.read(target).terraform
    people.join(target, values, terraform.client)
    files.write(target.tfvars, json.dumps(people.merged(target, values), indent=2))


def _vpc(target: Target, config: Config) -> str:
    """The VPC of an environment of the sandbox, whose network all of them share.

    The unnamed one has all of it: its hosts take the first addresses of both halves. Each other one has 32 addresses
    that are nobody's else.

    Raises:
        VerbError: there is no room for it.
    """
    if not target.names.suffix:
        return str(config.subnet)
    networks = _networks(target)
    if own := networks.pop(target.names.name, None):
        return own
    parts = list(config.subnet.subnets(new_prefix=27))
    free = (str(part) for part in parts if part not in (parts[0], parts[len(parts) // 2]))
    found = next((part for part in free if part not in networks.values()), None)
    if not found:
        raise VerbError(
            f"the sandbox's network {config.subnet} has no room for {target.names.name}: set SANDBOX_SUBNET"
        )
    return found


def _networks(target: Target) -> dict[str, str]:
    """The VPCs of all environments: name → network."""
    filters = [{"Name": "tag-key", "Values": ["Project"]}]
    found = terraform.client(target, "ec2").describe_vpcs(Filters=filters)["Vpcs"]
    return {tag["Value"]: vpc["CidrBlock"] for vpc in found for tag in vpc["Tags"] if tag["Key"] == "Project"}
