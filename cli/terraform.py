"""Terraform: its state's bucket and ECR first, then the host; both keep their state in S3."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

from cli import program
from cli.errors import VerbError
from cli.targets import ROOT, STATE, Target, provider_mirror
from sandbox import files, server
from sandbox.config import Config
from sandbox.progress import Step, failure, logged, say, step

MISSING = f"terraform is missing: `make up` fetches it, or {program.TERRAFORM.help}"
BOOTSTRAP, HOST = ROOT / "terraform" / "bootstrap", ROOT / "terraform"
_making = threading.Lock()


def client(target: Target, service: str) -> Any:
    """A client of a service in the target's environment; made once for it, for every thread."""
    os.environ.update(target.variables)
    return _client(service, frozenset((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


@cache
def _client(service: str, _: frozenset[tuple[str, str]]) -> Any:
    # One after the other: making them is not safe in threads, using them is.
    with _making:
        return botocore.session.Session().create_client(service)


def account(target: Target) -> str:
    """The AWS account's number, which shows that the credentials are good.

    Raises:
        VerbError: credentials are missing, expired or refused, or the region is: which command helps.
    """
    help_ = (
        "run `make up`"
        if target.is_sandbox
        else "set AWS_PROFILE to a profile whose credential_process is aws-vault, and AWS_REGION (docs/aws.md)"
    )
    try:
        # STS answers without a region, everything after it does not.
        client(target, "ec2")
        return str(client(target, "sts").get_caller_identity()["Account"])
    except NoRegionError as error:
        raise VerbError(f"AWS does not know where: {error}; {help_}") from None
    # RuntimeError is what botocore raises when credential_process hands out a session that has expired.
    except (BotoCoreError, ClientError, RuntimeError) as error:
        raise VerbError(f"AWS does not accept who is asking: {str(error).splitlines()[0]}; {help_}") from None


def ensure_up(target: Target) -> None:
    """Sees that there is something to act on.

    Raises:
        VerbError: the sandbox is not up, or AWS does not accept the credentials: what to do.
    """
    if not target.is_sandbox:
        account(target)
    elif not target.state.exists():
        raise VerbError("nothing is up: run `make up`")
    elif not server.answers(Config()):
        raise VerbError("the sandbox's AWS APIs do not answer: `make up` starts them again, nothing is lost")


def apply(target: Target) -> None:
    """Applies both folders, where their plans are not empty already.

    The first time the bucket of the states does not exist yet: the bootstrap is applied with a state on this machine,
    which then moves into the bucket that it made. Interrupted in between, it carries on.

    Raises:
        VerbError: Terraform is missing, a variable's file is missing, or a command failed (its output is above).
    """
    prepare(target)
    bucket = bucket_name(target)
    new = _local_state(target).exists() or not _bucket_exists(target, bucket)
    unchanged = {BOOTSTRAP: False, HOST: False} if new else _compare(target, bucket)
    if not unchanged[BOOTSTRAP]:
        with _asking("terraform: state bucket and ECR (terraform/bootstrap)", target) as shown:
            if new:
                _first_bootstrap(target, bucket, shown)
            else:
                run(target, BOOTSTRAP, "apply", "-input=false", *_approved(target), shown=shown)
    if not all(unchanged.values()):
        with _asking("terraform: the host (terraform/)", target) as shown:
            if new:
                init(target, bucket)
            run(target, HOST, "apply", "-input=false", *_approved(target), shown=shown)


def _asking(what: str, target: Target) -> contextlib.AbstractContextManager[Step | None]:
    """A step; none where Terraform asks its question, for which the screen has to be its own."""
    if _approved(target):
        return step(what)
    say(f"▸ {what}")
    return contextlib.nullcontext()


def init(target: Target, bucket: str, folder: Path = HOST, again: bool = True) -> bool:
    """Initialises a folder with its state in the bucket; returns whether it had to.

    Args:
        again: whether to do it although it was done before for the same bucket and the same files, as far as is known:
            it takes seconds, for Terraform reads the whole provider.
    """
    record = folder / ".terraform" / target.state.name / "initialised"
    if not again and record.exists() and record.read_text() == _fingerprint(folder, bucket):
        return False
    run(target, folder, "init", "-input=false", "-reconfigure", f"-backend-config=bucket={bucket}")
    files.write(record, _fingerprint(folder, bucket))
    return True


def _fingerprint(folder: Path, bucket: str) -> str:
    read = [*sorted(folder.glob("*.tf")), folder / ".terraform.lock.hcl"]
    content = [bucket, *(f"{path.name}\0{path.read_text()}" for path in read if path.exists())]
    return hashlib.sha256("\0".join(content).encode()).hexdigest()


def _compare(target: Target, bucket: str) -> dict[Path, bool]:
    """Whether there is nothing to apply in each folder. Both are initialised.

    They are planned side by side, which takes half the time. An operator's permissions end at what bootstrap made: that
    is left as it is, then.
    """

    def compare(folder: Path) -> str:
        fresh = init(target, bucket, folder, again=False)
        log = _log(target, folder, "plan")
        command = ["terraform", f"-chdir={folder}", "plan", "-input=false", "-detailed-exitcode"]
        status = logged(command, log, env=_environment(target, folder))
        if status == 1 and not fresh:
            # The provider was moved, say.
            init(target, bucket, folder)
            status = logged(command, log, env=_environment(target, folder))
        if status == 0:
            return "no changes"
        if status == 1 and folder == BOOTSTRAP and "AccessDenied" in log.read_text():
            return "left to an administrator, AWS denies access to it"
        # 2: there are changes; 1: it failed, which shows again, with its message, where the folder is applied.
        return "changes"

    with step("terraform: compared with what is there") as shown, ThreadPoolExecutor() as pool:
        answers = dict(zip((BOOTSTRAP, HOST), pool.map(compare, (BOOTSTRAP, HOST)), strict=True))
        shown.result = "; ".join(f"{folder.relative_to(ROOT)}: {answer}" for folder, answer in answers.items())
    return {folder: answer != "changes" for folder, answer in answers.items()}


def bucket_name(target: Target) -> str:
    region = client(target, "sts").meta.region_name
    return f"comentarios-{account(target)}-{region}-state"


def run(target: Target, folder: Path, *arguments: str, shown: Step | None = None) -> None:
    """Runs Terraform in a folder. What it prints goes to a log, or to the screen where it shows a plan or asks.

    Args:
        shown: the step whose line says what Terraform does and how it ended.

    Raises:
        VerbError: it is missing, or it failed: the failing line.
    """
    command, log = ["terraform", f"-chdir={folder}", *arguments], _log(target, folder, arguments[0])
    environment, what = _environment(target, folder), f"terraform {arguments[0]} failed in {folder.relative_to(ROOT)}"
    quiet = arguments[0] == "init" or "-auto-approve" in arguments
    try:
        if not quiet:
            if subprocess.run(command, env=environment, check=False).returncode:
                raise VerbError(f"{what} (see above)")
            return
        if logged(command, log, env=environment, each=_follow(shown)):
            raise VerbError(failure(what, log))
    except FileNotFoundError:
        raise VerbError(MISSING) from None


def _follow(shown: Step | None) -> Callable[[str], None]:
    def each(line: str) -> None:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
        if shown and (found := re.match(r"(?:Apply|Destroy) complete! Resources: (.*)\.$", plain)):
            shown.result = found[1]
        elif shown and (found := re.match(r"(\S+): (Creating|Modifying|Destroying|Refreshing state)\b", plain)):
            shown.detail = f"{found[2].lower()} {found[1]}"

    return each


def _log(target: Target, folder: Path, command: str) -> Path:
    return target.state / "logs" / f"terraform-{folder.name}-{command}.log"


def _environment(target: Target, folder: Path) -> dict[str, str]:
    environment = target.environment()
    if folder == BOOTSTRAP:
        # The variables' file is the host's.
        return {name: value for name, value in environment.items() if not name.startswith("TF_CLI_ARGS")}
    return environment


def prepare(target: Target) -> None:
    """Writes what Terraform reads from the state folder, and checks what it must find."""
    if not shutil.which("terraform"):
        raise VerbError(MISSING)
    write_cli_configuration()
    if not target.tfvars.exists():
        raise VerbError(
            f"{target.tfvars} is missing: run `make up`"
            if target.is_sandbox
            else "terraform/aws.tfvars is missing: copy terraform/aws.tfvars.example and fill it in"
        )


def write_cli_configuration() -> None:
    """Names this machine's provider mirror in Terraform's CLI configuration, where there is one."""
    mirror = provider_mirror()
    if mirror:
        content = f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n'
        files.write(STATE / "terraform.rc", content)


def _local_state(target: Target) -> Path:
    return target.state / "bootstrap.tfstate"


def _first_bootstrap(target: Target, bucket: str, shown: Step | None) -> None:
    """Applies the folder with a state on this machine, which then moves into the bucket that it made."""
    local_state = _local_state(target)
    override = BOOTSTRAP / "backend_override.tf"
    target.state.mkdir(parents=True, exist_ok=True)
    override.write_text(f'terraform {{\n  backend "local" {{\n    path = "{local_state}"\n  }}\n}}\n')
    try:
        run(target, BOOTSTRAP, "init", "-input=false", "-reconfigure")
        run(target, BOOTSTRAP, "apply", "-input=false", *_approved(target), shown=shown)
    finally:
        override.unlink()
    remote = ["init", "-input=false", f"-backend-config=bucket={bucket}"]
    run(target, BOOTSTRAP, *remote, "-migrate-state", "-force-copy")
    local_state.unlink()
    local_state.with_name("bootstrap.tfstate.backup").unlink(missing_ok=True)


def _bucket_exists(target: Target, bucket: str) -> bool:
    try:
        client(target, "s3").head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchBucket"}:
            return False
        raise VerbError(f"s3://{bucket} cannot be read: {error}") from None
    return True


def _approved(target: Target) -> list[str]:
    return ["-auto-approve"] if target.is_sandbox or os.environ.get("APPROVE") == "yes" else []
