"""The environment in which other tools work with what ``make up`` created: ``eval "$(make -s env)"``.

The two targets differ only in this environment.
"""

import hashlib
import locale
import os
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cli import names
from cli.names import Names
from common.config import REGION, Config
from common.errors import CommandError
from common.paths import BIN, ROOT, STATE


@dataclass(frozen=True)
class Target:
    """Where the verbs act.

    Attributes:
        name: ``sandbox`` or ``aws``.
        state: folder for what is kept between runs of this target.
        variables: the environment's additions, all strings.
        sandbox: the sandbox's names and addresses, which all of its environments share; None on AWS.
        names: what the environment's things are called.
        account: the AWS account that the user's own settings name; empty: any.
    """

    name: str
    state: Path
    variables: dict[str, str]
    sandbox: Config | None = None
    names: Names = Names()
    account: str = ""

    @property
    def tfvars(self) -> Path:
        """The variables of the host's Terraform folder, which the verbs write."""
        return self.state / f"{'sandbox' if self.is_sandbox else 'terraform'}.tfvars.json"

    @property
    def bootstrap_tfvars(self) -> Path:
        return self.state / "bootstrap.tfvars.json"

    @property
    def connections(self) -> Path:
        """Folder of the sockets of SSH connections; their paths may have some 100 characters at most."""
        folder = self.state / "ssh" / "control"
        if len(str(folder)) <= 60:
            return folder
        return Path(tempfile.gettempdir(), f"comentarios-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}")

    @property
    def is_sandbox(self) -> bool:
        return self.name == "sandbox"

    def environment(self) -> dict[str, str]:
        """The whole environment for a child process."""
        return {**os.environ, **self.variables}


def target() -> Target:
    """The target that TARGET names, in the environment that ENV and PROJECT name.

    Raises:
        CommandError: one of them is not known, or the target is ``aws`` in a shell that is the sandbox's or another
            environment's, or the user's own settings for AWS are wrong.
    """
    # That module imports this one.
    from cli import settings

    name = os.environ.get("TARGET") or "sandbox"
    called = names.names(os.environ)
    if name == "aws":
        _refuse_anothers_shell(STATE / f"aws{called.suffix}")
    own = settings.aws(Target(name, STATE, {}, names=called))
    made = _sandbox(called, own) if name == "sandbox" else _aws(called, own)
    made.variables.update(_common(made))
    made.variables.update(called.variables(made.variables.get("AWS_REGION")))
    return made


def _sandbox(called: Names, own: dict[str, str]) -> Target:
    # The shell's AWS_REGION goes with its credentials: it is for an account of AWS.
    config, region = Config(), own.get("region", REGION)
    state = config.state
    if called.suffix:
        # Within the sandbox's, so that it goes with the sandbox.
        state /= f"{state.name}{called.suffix}" + ("" if region == REGION else f"@{region}")
    variables = config.credentials() | {
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "ANSIBLE_INVENTORY": f"{ROOT}/inventory/aws_ec2.yml,{config.state}/inventory,{state}/settings",
        "ANSIBLE_PRIVATE_KEY_FILE": str(state / "ssh" / "id_ed25519"),
    }
    return Target("sandbox", state, variables, config, called)


def _aws(called: Names, own: dict[str, str]) -> Target:
    state = STATE / f"aws{called.suffix}"
    variables = {"ANSIBLE_INVENTORY": f"{ROOT}/inventory/aws_ec2.yml,{state}/settings"}
    if own.get("profile"):
        # A key in the environment would override the profile.
        overriding = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        variables |= {"AWS_PROFILE": own["profile"]} | dict.fromkeys(overriding, "")
    region = own.get("region") or os.environ.get("AWS_REGION") or _profiles_region(own.get("profile"))
    if region:
        variables |= {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    return Target("aws", state, variables, names=called, account=own.get("account", ""))


def _profiles_region(profile: str | None) -> str | None:
    """The region that AWS_DEFAULT_REGION or the profile names; the inventory reads AWS_REGION alone."""
    import botocore.session
    from botocore.exceptions import BotoCoreError

    try:
        found: str | None = botocore.session.Session(profile=profile).get_config_variable("region")
    except BotoCoreError:
        # The profile does not exist. The first request to AWS reports it.
        return None
    return found


def _refuse_anothers_shell(own: Path) -> None:
    """The shell's region, profile and endpoint would apply to the environment whose state folder this is."""
    state = os.environ.get("COMENTARIOS_STATE")
    if not state or state == str(own):
        return
    if os.environ.get("AWS_ENDPOINT_URL"):
        raise CommandError(
            'this shell is the sandbox\'s, after `eval "$(make -s env)"`: TARGET=aws would act on it; open another'
        )
    if Path(state).parent == STATE and Path(state).name.startswith("aws"):
        raise CommandError(
            f'this shell is for another environment ({Path(state).name}), after `eval "$(make -s env)"`: open another'
        )


def exports(chosen: Target) -> str:
    """Shell lines for ``eval``: the additions, and the virtual environment's tools first on the PATH."""
    lines = [
        f"export {name}={shlex.quote(value)}" for name, value in sorted(chosen.variables.items()) if name != "PATH"
    ]
    path = str(ROOT / ".venv" / "bin")
    return "\n".join([*lines, f'export PATH={shlex.quote(path)}:"$PATH":{shlex.quote(str(BIN))}'])


def _common(chosen: Target) -> dict[str, str]:
    # Each target keeps its own initialised backend beside the other's, in every Terraform folder.
    variables = {
        "TARGET": chosen.name,
        "COMENTARIOS_ROOT": str(ROOT),
        "COMENTARIOS_STATE": str(chosen.state),
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(chosen.connections),
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ.get('PATH', '')}:{BIN}",
        "TF_DATA_DIR": f".terraform/{chosen.state.name}",
        "TF_IN_AUTOMATION": "1",
    }
    variables |= var_files(chosen.tfvars)
    variables |= _locale()
    mirror = provider_mirror()
    if mirror:
        variables["TF_CLI_CONFIG_FILE"] = str(STATE / "terraform.rc")
    return variables


def var_files(file: Path) -> dict[str, str]:
    """The environment variables that make Terraform read its variables from a file."""
    given = shlex.quote(f"-var-file={file}")
    return {f"TF_CLI_ARGS_{command}": given for command in ("plan", "apply", "destroy", "console")}


def _locale() -> dict[str, str]:
    """A UTF-8 locale, if none is set or the set one is not installed: Ansible refuses others."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "")
        if locale.nl_langinfo(locale.CODESET).upper().replace("-", "") == "UTF8":
            return {}
    except locale.Error:
        pass
    finally:
        locale.setlocale(locale.LC_ALL, before)
    # The C library's own, on every Linux; macOS has the other.
    return {"LC_ALL": "C.UTF-8" if sys.platform == "linux" else "en_US.UTF-8"}


def provider_mirror() -> Path | None:
    """A folder of this machine that mirrors Terraform's registry and has the AWS provider; None if there is none.

    Terraform finds the standard folders by itself. A CLI configuration that TF_CLI_CONFIG_FILE names comes first.

    Raises:
        CommandError: TF_CLI_CONFIG_FILE cannot be read.
    """
    own = os.environ.get("TF_CLI_CONFIG_FILE")
    if own:
        try:
            with open(own):
                return None
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise CommandError(
                f"TF_CLI_CONFIG_FILE={own} cannot be read: {error.strerror}; name a file that can, or unset it"
            ) from None
    for folder in ("/opt", "/usr/share", "/usr/local/share", "/srv"):
        for found in sorted(Path(folder).glob("*/registry.*/hashicorp/aws")):
            return found.parent.parent.parent
    return None
