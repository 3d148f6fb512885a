"""``make up``, ``make down``, ``make clean`` and ``make plan``."""

import contextlib
import dataclasses
import glob
import json
import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from cli import certificate, doctor, downloads, host, image, people, release, sandbox, settings, terraform
from cli.targets import Target
from common import apt, architecture, check, engine, files
from common import images as local_images
from common.config import Config
from common.errors import CommandError
from common.paths import ROOT
from common.progress import say, step

# Programs that must be on the PATH, and their packages.
TOOLS = {"git": "git", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}


def up(target: Target, tag: str = "", rebuild: str = "", watch: str = "", ready: str = "", edge_port: str = "") -> None:
    """Creates everything that is missing in the target. The live image stays live."""
    begin, lasted = time.monotonic(), target.state / "up-seconds"
    say(_announcement(target, lasted))
    # A fault in it is told before anything starts.
    settings.read(target)
    preflight(target)
    # The state folder holds private files of Terraform, Ansible and SSH.
    os.umask(0o077)
    if target.sandbox:
        sandbox.run("start")
        # The first start created the keys.
        target.variables.update(target.sandbox.credentials())
    _give_terraform_its_variables(target)
    first = not host.hosts(target)
    if tag and not first:
        # A mistyped tag is refused before Terraform runs. The first time there is no ECR yet.
        image.ensure_pushed(target, tag)
    if target.sandbox:
        # Terraform mostly waits, so the images are built at the same time.
        with ThreadPoolExecutor() as pool:
            images = pool.submit(_images, target, first and not tag)
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


def apply_terraform(target: Target) -> None:
    """Applies the settings' variables to hosts that are up."""
    _give_terraform_its_variables(target)
    terraform.apply(target)
    if target.sandbox:
        sandbox.run("sync")


def _give_terraform_its_variables(target: Target) -> None:
    """Adds the caller to those who may log in, and writes the variables; the sandbox sets some itself.

    Raises:
        CommandError: the settings lack a variable, or the engine cannot run the instance type; nothing is changed.
    """
    own = settings.require(target).terraform
    if target.sandbox:
        own = _sandboxs_own(target, target.sandbox) | own
        _fits(target, own["instance_type"])
    people.join(target, own, terraform.client)
    files.write(target.tfvars, json.dumps(people.merged(target, own), indent=2))


def _announcement(target: Target, lasted: Path) -> str:
    """What will happen, and how long it took the last time."""
    where = "a sandbox of AWS on this machine" if target.is_sandbox else "AWS"
    if target.names.suffix:
        where += f" ({target.names.given()})"
    took = f"took {lasted.read_text()} s last time" if lasted.exists() else "takes about three minutes the first time"
    logs = os.path.relpath(target.state / "logs", Path.cwd())
    return (
        f"▸ make up: {where}; Terraform creates the host, Ansible configures it; {took}\n"
        f"  V=1 shows all output, which is also in {logs}/; after Ctrl-C, run the same command again"
    )


def _images(target: Target, api: bool) -> None:
    """Builds all images: the sandbox's, the stack's and, for the first host, the API's."""
    sandbox.run("build")
    if api:
        image.prepare(target)


def _tag(target: Target, tag: str, rebuild: bool) -> str:
    """The tag to run: the given one, or the live one (empty: each host keeps its own), or the working tree's.

    Only `make release` rolls out the working tree. `make up` from a branch must not release the branch, and after a
    rollback it must not release the bad version again.
    """
    host.wait_for_ssh(target)
    if tag:
        return image.ensure_pushed(target, tag)
    live = release.live(target)
    if not any(live.values()):
        return image.ensure_pushed(target, rebuild=rebuild)
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
    for one in host.hosts(target):
        if one.domain and (reason := certificate.pending(one, host.run(target, one, certificate.probe(one)))):
            say(f"  certificate pending: {reason}")
    say("  Prometheus, Alertmanager, Grafana: `make tunnel`")
    say(f"  host        `make ssh` ({first.name}, {first.instance_id})")
    variables = target.sandbox and target.sandbox.state / "inventory" / "group_vars" / "all.yml"
    if variables and "grafana_enabled: false" in variables.read_text():
        say("  Grafana     not running: its image is not available (set GRAFANA_IMAGE)")


def down(target: Target, delete_data: str = "", *, images: bool = False) -> None:
    """Removes what ``up`` created: everything in the sandbox; on AWS the host, after a confirmation.

    Args:
        images: whether to remove the built images, too; otherwise they stay as a cache.
    """
    host.end_connections(target)
    if target.is_sandbox and target.names.suffix:
        _down_in_the_sandbox(target)
        return
    if target.is_sandbox:
        _refuse_others(target, delete_data == "yes")
        # Of all environments, before the sandbox's folder is removed.
        states = [target.state, *_others(target)]
        answers = engine.answers()
        if target.state.exists() and not answers:
            raise CommandError(
                "no Docker Engine answers, so nothing was removed: start it, then run the same command again"
            )
        if answers:
            sandbox.run("down")
            if images:
                local_images.remove_all()
        engine.stop()
        _forget(*states)
        return
    _down_on_aws(target, delete_data == "yes")


def _refuse_others(target: Target, delete: bool) -> None:
    """Checks that no other environment is in the sandbox, unless all are to be deleted.

    Raises:
        CommandError: there is one.
    """
    if delete or not target.state.exists():
        return
    if terraform.answers(target):
        others = sorted(_networks(target).keys() - {_place(target)})
    else:
        # Its comments are lost with its host, whether the APIs answer or not.
        others = [state.name for state in _others(target) if (state / target.tfvars.name).exists()]
    if others:
        raise CommandError(
            f"this sandbox also has {', '.join(others)}: run `ENV=… make down` first, "
            "or set DELETE_DATA=yes to remove everything"
        )


def _others(target: Target) -> list[Path]:
    """The state folders of the sandbox's named environments."""
    return sorted(target.state.glob(f"{glob.escape(target.state.name)}[-.]*/"))


def _down_in_the_sandbox(target: Target) -> None:
    """Removes one environment of several, with its comments. The sandbox and the other environments stay."""
    if target.state.exists() and not terraform.answers(target):
        raise CommandError("the sandbox's AWS APIs do not answer, so nothing was removed: `make up` restarts them")
    if target.tfvars.exists():
        terraform.prepare(target)
        bucket = terraform.bucket_name(target)
        if terraform.bucket_exists(target, bucket):
            _remove(target, bucket, delete=True)
        sandbox.run("sync")
    _forget(target.state)


def _forget(*states: Path) -> None:
    """Removes environments' state folders, and Terraform's data for them."""
    for state in states:
        for folder in (terraform.BOOTSTRAP, terraform.HOST):
            shutil.rmtree(folder / ".terraform" / state.name, ignore_errors=True)
        shutil.rmtree(state, ignore_errors=True)


def _down_on_aws(target: Target, delete: bool) -> None:
    """Removes the host. The comments' volume and the backups stay unless they are to be deleted, too."""
    terraform.prepare(target)
    bucket = terraform.bucket_name(target)
    what = (
        "the host, the comments and their backups" if delete else "the host; the comments' volume and the backups stay"
    )
    confirm(target, f"This removes {what}.")
    _remove(target, bucket, delete)


def _remove(target: Target, bucket: str, delete: bool) -> None:
    terraform.init(target, bucket)
    # Parked in both cases: otherwise a parked host would be created only to be removed.
    change = ["-var", "parked=true", *(["-var", "delete_data=true"] if delete else [])]
    with step("terraform: removing the host") as shown:
        for command in ["apply", "destroy"] if delete else ["apply"]:
            terraform.run(target, terraform.HOST, command, "-input=false", "-auto-approve", *change, shown=shown)
    if not delete:
        say("  kept: the data volume and the backups; DELETE_DATA=yes would remove them")
    say(f"  kept: s3://{bucket} and ECR (terraform/bootstrap), which hold the state and the images")


def clean(target: Target, delete_data: str) -> None:
    """``down``, and the removal of the built images.

    Raises:
        CommandError: an environment was named. The Makefile then removes what belongs to all environments.
    """
    if target.names.suffix:
        raise CommandError(
            f"`make clean` removes all environments: run it without {target.names.given()}, or run `make down`"
        )
    down(target, delete_data, images=True)


def plan(target: Target) -> int:
    """Shows what would change: Terraform's plan, and Ansible's --check --diff."""
    settings.apply(target)
    _give_terraform_its_variables(target)
    terraform.prepare(target)
    terraform.init(target, terraform.bucket_name(target))
    terraform.run(target, terraform.HOST, "plan", "-input=false")
    host.wait_for_ssh(target)
    say(_compared(release.live(target)))
    command = ["ansible-playbook", "site.yml", "--check", "--diff"]
    return subprocess.run(command, cwd=ROOT, env=target.environment(), check=False).returncode


def confirm(target: Target, what: str) -> None:
    """Asks the user to type the environment's name before something is removed.

    Raises:
        CommandError: the name was not typed, or standard input is closed.
    """
    try:
        typed = input(f"{what} Type its name ({target.names.name}) to continue: ")
    except EOFError:
        typed = ""
    if typed.strip() != target.names.name:
        raise CommandError("nothing was removed: the name was not typed")


def preflight(target: Target) -> None:
    """Checks everything that would make a later step fail.

    Raises:
        CommandError: a tool is missing, no engine answers, or AWS does not accept the credentials.
    """
    _tools()
    downloads.ensure_terraform()
    engine.ensure()
    check.require(doctor.quick(target))
    if not target.is_sandbox:
        account = terraform.account(target)
        say(f"▸ AWS account {account}, {target.variables['AWS_REGION']}: {target.names.name}")


def _tools() -> None:
    missing = [name for name in TOOLS if not shutil.which(name)]
    if "ssh" in missing and apt.may_install():
        with step(f"installing {TOOLS['ssh']}"), contextlib.suppress(CommandError):
            apt.install(TOOLS["ssh"])
        missing = [name for name in TOOLS if not shutil.which(name)]
    if missing:
        raise CommandError(f"{missing[0]} is missing: install {TOOLS[missing[0]]} and put it on the PATH")


def _sandboxs_own(target: Target, config: Config) -> dict[str, Any]:
    """The values of Terraform's variables that the settings may leave out; creates a key pair for SSH."""
    key = target.state / "ssh" / "id_ed25519"
    key.parent.mkdir(parents=True, exist_ok=True)
    if not key.exists():
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "comentarios-sandbox", "-f", str(key)], check=True
        )
    return {
        "instance_type": architecture.TYPES[architecture.of_engine()],
        "admin_cidrs": [f"{config.gateway}/32"],
        "ssh_address": "private",
        "ssh_public_key": key.with_suffix(".pub").read_text().strip(),
        "vpc_cidr": _vpc(target, config),
    }


def _fits(target: Target, kind: str) -> None:
    """Checks that the engine can run a host of an instance type, before Terraform creates the instance.

    Raises:
        CommandError: the type has another architecture.
    """
    here = architecture.of_engine()
    try:
        (known,) = terraform.client(target, "ec2").describe_instance_types(InstanceTypes=[kind])["InstanceTypes"]
    except ClientError:
        # Terraform reports the error.
        return
    found = known["ProcessorInfo"]["SupportedArchitectures"]
    if here not in found:
        raise CommandError(
            f"instance_type {kind} is {found[-1]}, and this machine's engine is {here}: set it to one for {here}, such "
            f"as {architecture.TYPES[here]}"
        )


def _vpc(target: Target, config: Config) -> str:
    """The VPC of an environment of the sandbox; all environments share the sandbox's network.

    The unnamed one has the whole network, and its hosts take the first addresses of both halves. Every other one has
    32 addresses of its own.

    Raises:
        CommandError: the network is full.
    """
    if not target.names.suffix:
        return str(config.subnet)
    networks = _networks(target)
    if own := networks.pop(_place(target), None):
        return own
    parts = list(config.subnet.subnets(new_prefix=27))
    free = (str(part) for part in parts if part not in (parts[0], parts[len(parts) // 2]))
    found = next((part for part in free if part not in networks.values()), None)
    if not found:
        raise CommandError(
            f"the sandbox's network {config.subnet} has no room for {target.names.name}: "
            "set SANDBOX_SUBNET to a larger one"
        )
    return found


def _networks(target: Target) -> dict[str, str]:
    """The VPCs of all environments: name and region → network."""
    filters, found = [{"Name": "tag-key", "Values": ["Project"]}], {}
    # The sandbox lists those that are in use.
    for region in terraform.client(target, "ec2").describe_regions()["Regions"]:
        there = dataclasses.replace(target, variables=target.variables | {"AWS_REGION": region["RegionName"]})
        for vpc in terraform.client(there, "ec2").describe_vpcs(Filters=filters)["Vpcs"]:
            (name,) = (tag["Value"] for tag in vpc["Tags"] if tag["Key"] == "Project")
            found[_place(there, name)] = vpc["CidrBlock"]
    return found


def _place(target: Target, name: str = "") -> str:
    return f"{name or target.names.name} in {target.variables['AWS_REGION']}"
