"""The environment in which other tools work with what ``make up`` created: ``eval "$(make -s env)"``.

The two targets differ only in this environment.
"""

from __future__ import annotations

import hashlib
import locale
import os
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common.config import Config
from common.errors import CommandError
from common.paths import BIN, ROOT, STATE


@dataclass(frozen=True)
class Target:
    """Where the verbs act.

    Attributes:
        name: ``sandbox`` or ``aws``.
        state: folder for what is kept between runs of this target.
        variables: the environment's additions, all strings.
        sandbox: the sandbox's names and addresses; None on AWS.
    """

    name: str
    state: Path
    variables: dict[str, str]
    sandbox: Config | None = None

    @property
    def tfvars(self) -> Path:
        return self.state / "sandbox.tfvars.json" if self.is_sandbox else ROOT / "terraform" / "aws.tfvars"

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
    """The target that TARGET names.

    Raises:
        CommandError: TARGET is neither ``sandbox`` nor ``aws``, or is ``aws`` in a shell that is the sandbox's.
    """
    name = os.environ.get("TARGET") or "sandbox"
    if name == "sandbox":
        config = Config()
        variables = config.credentials() | {
            "ANSIBLE_INVENTORY": f"{ROOT}/inventory/aws_ec2.yml,{config.state}/inventory,{config.state}/settings",
            "ANSIBLE_PRIVATE_KEY_FILE": str(config.state / "ssh" / "id_ed25519"),
        }
        made = Target(name, config.state, variables, config)
    elif name == "aws":
        made = Target(name, STATE / "aws", {"ANSIBLE_INVENTORY": f"{ROOT}/inventory/aws_ec2.yml,{STATE}/aws/settings"})
        _refuse_the_sandboxes_shell(made)
        region = os.environ.get("AWS_REGION") or _profiles_region()
        if region:
            made.variables.update({"AWS_REGION": region, "AWS_DEFAULT_REGION": region})
    else:
        raise CommandError(f"TARGET={name} is not known: it is `sandbox` (the default) or `aws`")
    made.variables.update(_common(made))
    return made


def _profiles_region() -> str | None:
    """The region that AWS_DEFAULT_REGION or the profile names; the inventory reads AWS_REGION alone."""
    import botocore.session
    from botocore.exceptions import BotoCoreError

    try:
        found: str | None = botocore.session.Session().get_config_variable("region")
    except BotoCoreError:
        # A profile that is not there: whoever asks AWS first says so.
        return None
    return found


def _refuse_the_sandboxes_shell(aws: Target) -> None:
    state = os.environ.get("COMENTARIOS_STATE")
    if state and state != str(aws.state) and os.environ.get("AWS_ENDPOINT_URL"):
        raise CommandError(
            'this shell is the sandbox\'s, after `eval "$(make -s env)"`: TARGET=aws would act on it; open another'
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
        "COMENTARIOS_STATE": str(chosen.state),
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(chosen.connections),
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ.get('PATH', '')}:{BIN}",
        "TF_DATA_DIR": f".terraform/{chosen.state.name}",
        "TF_IN_AUTOMATION": "1",
    }
    for command in ("plan", "apply", "destroy", "console"):
        variables[f"TF_CLI_ARGS_{command}"] = shlex.quote(f"-var-file={chosen.tfvars}")
    variables |= _locale()
    mirror = provider_mirror()
    if mirror:
        variables["TF_CLI_CONFIG_FILE"] = str(STATE / "terraform.rc")
    return variables


def _locale() -> dict[str, str]:
    """A UTF-8 locale where there is none: Ansible refuses others, and one that is not installed is none."""
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
    """A folder of this machine that mirrors Terraform's registry and holds the AWS provider, None where there is none.

    Terraform reads the standard ones by itself; a machine that cannot reach the registry may have it elsewhere. A CLI
    configuration of the user's own, when TF_CLI_CONFIG_FILE names one that exists, comes first.

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
