"""``python -m verbs <verb>``: what the Makefile calls."""

from __future__ import annotations

import os
import subprocess
import sys

from botocore.exceptions import BotoCoreError, ClientError

from sandbox.errors import SandboxError
from sandbox.progress import fail, say
from verbs import backup, host, image, release, status, terraform, testing, up, window
from verbs.environment import ROOT, Target, exports, target
from verbs.errors import VerbError


def env(chosen: Target) -> None:
    say(exports(chosen))


def ssh(chosen: Target) -> int:
    command = os.environ.get("CMD")
    return subprocess.run(
        host.ssh(chosen, host.chosen(chosen), *([command] if command else [])), check=False
    ).returncode


def logs(chosen: Target) -> int:
    service = os.environ.get("SERVICE", "")
    follow = f"docker compose --project-directory /opt/comentarios logs --follow --tail 100 {service}"
    return _until_interrupted(host.ssh(chosen, host.chosen(chosen), "-t", follow))


def _until_interrupted(command: list[str]) -> int:
    """Runs what ends by Ctrl-C, which is then no error."""
    try:
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return 0


def tunnel(chosen: Target) -> int:
    ports = {"Grafana": 3000, "Prometheus": 9090, "Alertmanager": 9093}
    command = host.ssh(chosen, host.chosen(chosen))
    forwards = [part for port in ports.values() for part in ("-L", f"127.0.0.1:{port}:127.0.0.1:{port}")]
    for name, port in ports.items():
        say(f"  {name:<13} http://127.0.0.1:{port}")
    say("  Grafana's user is admin, its password is in SSM (/comentarios/grafana/admin_password) and on the host:")
    say("  make ssh CMD='sudo cat /opt/comentarios/grafana/secrets/admin_password'. Ctrl-C ends the tunnel.")
    return subprocess.run(
        [*command[:-1], "-N", "-o", "ExitOnForwardFailure=yes", *forwards, command[-1]], check=False
    ).returncode


def images(chosen: Target) -> None:
    for tag in image.listing(chosen):
        say(tag)


def push(chosen: Target) -> None:
    say(image.ensure(chosen))


def plan(chosen: Target) -> int:
    terraform.prepare(chosen)
    terraform.init(chosen, terraform.bucket_name(chosen))
    terraform.run(chosen, terraform.HOST, "plan", "-input=false")
    host.greet(chosen)
    command = ["ansible-playbook", "site.yml", "--check", "--diff"]
    return subprocess.run(command, cwd=ROOT, env=chosen.environment(), check=False).returncode


def check(_: Target) -> int:
    return testing.check()


def test(_: Target) -> int:
    return testing.test()


def bench(_: Target) -> int:
    return testing.bench()


def prove(_: Target) -> int:
    return testing.prove()


def restore(chosen: Target) -> None:
    backup.restore(chosen)


def clean(chosen: Target) -> None:
    up.down(chosen, images=True)


VERBS = {
    "backup": backup.backup,
    "backups": backup.backups,
    "bench": bench,
    "prove": prove,
    "check": check,
    "clean": clean,
    "close": window.close,
    "down": up.down,
    "drill": backup.drill,
    "env": env,
    "image": push,
    "images": images,
    "logs": logs,
    "open": window.open_,
    "plan": plan,
    "release": release.release,
    "releases": release.releases,
    "restore": restore,
    "rollback": release.rollback,
    "ssh": ssh,
    "status": status.status,
    "test": test,
    "tunnel": tunnel,
    "up": up.up,
}


# What works with nothing up, or finds out by itself what is.
FROM_NOTHING = {"bench", "check", "clean", "down", "env", "prove", "status", "test", "up"}


def main() -> int:
    verb = sys.argv[1]
    try:
        chosen = target()
        # For the children that are given no environment of their own, too.
        os.environ.update({name: value for name, value in chosen.variables.items() if name == "LC_ALL"})
        if verb not in FROM_NOTHING:
            terraform.ensure_up(chosen)
        return VERBS[verb](chosen) or 0
    except (VerbError, SandboxError) as error:
        return fail(str(error))
    except (BotoCoreError, ClientError) as error:
        return fail(f"AWS refuses or does not answer: {str(error).splitlines()[0]}")
    except OSError as error:
        if not error.filename:
            raise
        return fail(f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        return fail("interrupted: run the same command again, it carries on")


if __name__ == "__main__":
    sys.exit(main())
