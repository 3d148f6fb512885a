"""Terraform: first the state's bucket and ECR, then the host. Both keep their state in S3."""

import contextlib
import hashlib
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from cli import downloads, settings
from cli.targets import Target, provider_mirror, var_files
from common import aws, files
from common.errors import CommandError
from common.paths import ROOT, STATE
from common.progress import Step, failure, logged, say, step

MISSING = f"terraform is missing: `make up` downloads it, or {downloads.TERRAFORM.help}"
# What AWS's clients raise; the last one for a reply that was cut off.
AWS_ERRORS = (BotoCoreError, ClientError, ResponseParserError)
BOOTSTRAP, HOST = ROOT / "terraform" / "bootstrap", ROOT / "terraform"


def client(target: Target, service: str) -> Any:
    """A client of an AWS service in the target's environment; all threads share it."""
    if target.sandbox:
        return aws.client(target.sandbox, service, target.variables["AWS_REGION"])
    given = target.environment()
    # A key overrides the profile. Given to the session, since botocore itself reads os.environ only.
    profile = None if given.get("AWS_ACCESS_KEY_ID") else given.get("AWS_PROFILE") or None
    return _client(service, profile, given.get("AWS_REGION"))


@cache
def _client(service: str, profile: str | None, region: str | None) -> Any:
    with aws.making:
        return aws.session(profile).create_client(service, region_name=region)


def account(target: Target) -> str:
    """The AWS account's number; proves that the credentials are valid.

    Raises:
        CommandError: credentials or region are missing, expired or refused, or belong to another account.
    """
    help_ = "run `make up`" if target.is_sandbox else "sign in and set AWS_PROFILE and AWS_REGION as docs/aws.md shows"
    try:
        sts = client(target, "sts")
        # STS works without a region, nothing else does.
        if sts.meta.region_name == "aws-global":
            raise CommandError(f"no AWS region is set; {help_}")
        found = str(sts.get_caller_identity()["Account"])
    # botocore raises RuntimeError when credential_process returns an expired session.
    except (*AWS_ERRORS, RuntimeError) as error:
        raise CommandError(f"AWS does not accept the credentials: {str(error).splitlines()[0]}; {help_}") from None
    if target.account and found != target.account:
        file = settings.shown(settings.path(target))
        raise CommandError(
            f"these credentials belong to AWS account {found}, but {file} names {target.account}: nothing was changed"
        )
    return found


def ensure_up(target: Target) -> None:
    """Checks that there is something to act on.

    Raises:
        CommandError: the sandbox is not up, or AWS does not accept the credentials.
    """
    if not target.is_sandbox:
        account(target)
    elif not target.state.exists():
        raise CommandError("nothing is up: run `make up`")
    elif not answers(target):
        raise CommandError("the sandbox's AWS APIs do not answer: `make up` restarts them; no data is lost")


def answers(target: Target) -> bool:
    """Whether the sandbox's APIs answer and accept this sandbox's key."""
    if not target.sandbox:
        return False
    with socket.socket() as probe:
        # Fails at once, where botocore would retry.
        probe.settimeout(3)
        if probe.connect_ex((target.sandbox.gateway, target.sandbox.aws_port)):
            return False
    try:
        account(target)
    except CommandError:
        return False
    return True


def apply(target: Target) -> None:
    """Applies both folders, unless their plans are empty.

    The first time, the bucket for the states does not exist: bootstrap is applied with a local state, which then moves
    into the new bucket. Unless Terraform asks for approval, the host starts before bootstrap has finished. If this is
    interrupted, the next run continues.

    Raises:
        CommandError: Terraform or the variables' file is missing, or a command failed.
    """
    prepare(target)
    bucket = bucket_name(target)
    new = _local_state(target).exists() or not bucket_exists(target, bucket)
    if new and not _local_state(target).exists():
        _refuse_a_second(target)
    unchanged = {BOOTSTRAP: False, HOST: False} if new else _compare(target, bucket)

    def bootstrap(then: Callable[[], None] = lambda: None) -> None:
        with _asking("terraform: state bucket and ECR (terraform/bootstrap)", target) as shown:
            if new:
                _first_bootstrap(target, bucket, shown, then)
            else:
                run(target, BOOTSTRAP, "apply", "-input=false", *_approved(target), shown=shown)

    def host() -> None:
        with _asking("terraform: the host (terraform/)", target) as shown:
            if new:
                init(target, bucket)
            run(target, HOST, "apply", "-input=false", *_approved(target), shown=shown)

    if new and _approved(target):
        _overlapping(bootstrap, host)
        return
    if not unchanged[BOOTSTRAP]:
        bootstrap()
    if not all(unchanged.values()):
        host()


def _overlapping(first: Callable[[Callable[[], None]], None], second: Callable[[], None]) -> None:
    """Begins the second as soon as the first says that it may, and ends when both have; whichever fails, it raises."""
    may = threading.Event()
    with ThreadPoolExecutor(max_workers=1) as pool:
        running = pool.submit(first, may.set)
        running.add_done_callback(lambda _: may.set())
        may.wait()
        if not running.done() or not running.exception():
            second()
        running.result()


def _refuse_a_second(target: Target) -> None:
    """Checks that the names in IAM are free: IAM has no regions, and the unnamed environment's names have none either.

    Raises:
        CommandError: the environment exists in another region.
    """
    group = f"{target.variables['TF_VAR_iam_prefix']}-operators"
    try:
        client(target, "iam").get_group(GroupName=group)
    except ClientError:
        return
    raise CommandError(
        f"this account already has {target.names.name} in another region than {target.variables['AWS_REGION']} "
        f"(IAM group {group}): set `region` in {settings.shown(settings.path(target))} to that one, or give this "
        "environment a name with ENV=…"
    )


def _asking(what: str, target: Target) -> contextlib.AbstractContextManager[Step | None]:
    """A step; where Terraform asks for approval, only a line, since Terraform needs the screen."""
    if _approved(target):
        return step(what)
    say(f"▸ {what}")
    return contextlib.nullcontext()


def init(target: Target, bucket: str, folder: Path = HOST, again: bool = True) -> bool:
    """Initialises a folder with its state in the bucket; returns whether that was necessary.

    Args:
        again: whether to repeat it for the same bucket and files. That takes seconds: Terraform reads the provider.
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
    """Initialises both folders and plans them in parallel; returns for each whether there is nothing to apply.

    Operators may not read what bootstrap created; it is left unchanged for them.
    """

    def compare(folder: Path) -> str:
        fresh = init(target, bucket, folder, again=False)
        log = _log(target, folder, "plan")
        command = ["terraform", f"-chdir={folder}", "plan", "-input=false", "-detailed-exitcode"]
        status = logged(command, log, env=_environment(target, folder))
        if status == 1 and not fresh:
            # For example, the provider was moved.
            init(target, bucket, folder)
            status = logged(command, log, env=_environment(target, folder))
        if status == 0:
            return "no changes"
        if status == 1 and folder == BOOTSTRAP and "AccessDenied" in log.read_text():
            return "unchanged: only an administrator has access"
        # 2: there are changes; 1: it failed, and applying the folder will show why.
        return "changes"

    with step("terraform: plan") as shown, ThreadPoolExecutor() as pool:
        answers = dict(zip((BOOTSTRAP, HOST), pool.map(compare, (BOOTSTRAP, HOST)), strict=True))
        shown.result = "; ".join(f"{_shown(folder)}: {answer}" for folder, answer in answers.items())
    return {folder: answer != "changes" for folder, answer in answers.items()}


def bucket_name(target: Target) -> str:
    region = client(target, "sts").meta.region_name
    return target.names.state_bucket(account(target), region)


def run(
    target: Target,
    folder: Path,
    *arguments: str,
    shown: Step | None = None,
    then: Callable[[], None] = lambda: None,
) -> None:
    """Runs Terraform in a folder. Its output goes to a log, or to the screen if it shows a plan or asks for approval.

    Args:
        shown: the step that shows what Terraform does and how it ended.
        then: called when only a bucket's lifecycle rules are left to apply. The provider waits a minute until S3 is
            consistent about them, and nothing else needs them.

    Raises:
        CommandError: Terraform is missing or failed; the failing line.
    """
    command, log = ["terraform", f"-chdir={folder}", *arguments], _log(target, folder, arguments[0])
    environment, what = _environment(target, folder), f"terraform {arguments[0]} failed in {_shown(folder)}"
    quiet = arguments[0] == "init" or "-auto-approve" in arguments
    try:
        if not quiet:
            if subprocess.run(command, env=environment, check=False).returncode:
                raise CommandError(f"{what} (see above)")
            return
        if logged(command, log, env=environment, each=_follow(shown, then)):
            raise CommandError(failure(what, log))
    except FileNotFoundError:
        raise CommandError(MISSING) from None


def _follow(shown: Step | None, then: Callable[[], None]) -> Callable[[str], None]:
    making: set[str] = set()

    def each(line: str) -> None:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
        if shown and (found := re.match(r"(?:Apply|Destroy) complete! Resources: (.*)\.$", plain)):
            shown.result = found[1]
        elif shown and (found := re.match(r"(\S+): (Creating|Modifying|Destroying|Refreshing state)\b", plain)):
            shown.detail = f"{found[2].lower()} {found[1]}"
        if found := re.match(r"(\S+): (Creating\.|Modifying\.|Still |Creation complete|Modifications complete)", plain):
            (making.discard if found[2].endswith("complete") else making.add)(found[1])
            # After ten seconds nothing is about to begin, either.
            if found[2] == "Still " and all("aws_s3_bucket_lifecycle_configuration" in one for one in making):
                then()

    return each


def _shown(folder: Path) -> str:
    return f"terraform/{BOOTSTRAP.name}" if folder.name == BOOTSTRAP.name else "terraform"


def _log(target: Target, folder: Path, command: str) -> Path:
    return target.state / "logs" / f"terraform-{folder.name}-{command}.log"


def _environment(target: Target, folder: Path) -> dict[str, str]:
    # The AWS provider's description is large: with Go's default, a quarter of a plan's CPU is garbage collection.
    environment = {"GOGC": "400"} | target.environment()
    if folder.name == BOOTSTRAP.name:
        return environment | var_files(target.bootstrap_tfvars)
    return environment


def prepare(target: Target) -> None:
    """Writes and checks the files that Terraform reads."""
    if not shutil.which("terraform"):
        raise CommandError(MISSING)
    write_cli_configuration()
    settings.require(target)


def write_cli_configuration() -> None:
    """Writes Terraform's CLI configuration for this machine's provider mirror, if there is one."""
    mirror = provider_mirror()
    if mirror:
        content = f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n'
        files.write(STATE / "terraform.rc", content)


def _local_state(target: Target) -> Path:
    return target.state / "bootstrap.tfstate"


def _first_bootstrap(target: Target, bucket: str, shown: Step | None, then: Callable[[], None]) -> None:
    """Applies bootstrap with a local state, and then moves the state into the new bucket."""
    local_state = _local_state(target)
    # In a copy: another site may have its first run from here meanwhile, and a run that is killed changes nothing.
    copied = target.state / "first-run"
    shutil.rmtree(copied, ignore_errors=True)
    shutil.copytree(HOST, copied, ignore=shutil.ignore_patterns(".terraform", "tests"))
    folder = copied / BOOTSTRAP.name
    override = f'terraform {{\n  backend "local" {{\n    path = "{local_state}"\n  }}\n}}\n'
    (folder / "backend_override.tf").write_text(override)
    run(target, folder, "init", "-input=false", "-reconfigure")
    run(target, folder, "apply", "-input=false", *_approved(target), shown=shown, then=then)
    # What Terraform knows of the state that moves.
    data = target.variables["TF_DATA_DIR"]
    shutil.rmtree(BOOTSTRAP / data, ignore_errors=True)
    (BOOTSTRAP / data).parent.mkdir(exist_ok=True)
    shutil.move(folder / data, BOOTSTRAP / data)
    remote = ["init", "-input=false", f"-backend-config=bucket={bucket}"]
    run(target, BOOTSTRAP, *remote, "-migrate-state", "-force-copy")
    local_state.unlink()
    local_state.with_name("bootstrap.tfstate.backup").unlink(missing_ok=True)
    shutil.rmtree(copied)


def bucket_exists(target: Target, bucket: str) -> bool:
    try:
        client(target, "s3").head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchBucket"}:
            return False
        raise CommandError(f"s3://{bucket} cannot be read: {error}") from None
    return True


def _approved(target: Target) -> list[str]:
    return ["-auto-approve"] if target.is_sandbox else []
