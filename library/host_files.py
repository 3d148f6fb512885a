#!/usr/bin/python3
"""Writes many files on a host and starts their units, in one round trip. A task takes one for each file or unit.

Unchanged files are left alone, missing folders are created, and systemd reads its units if one of their files changed.
It returns `written`: the full names of the files and folders that changed, and the names of the units.
"""

import os
import tempfile

from ansible.module_utils.basic import AnsibleModule

STAGED, UNITS = "/opt/comentarios/staged", "/etc/systemd/system/"
# The files that were written and perhaps not read by their program: an interrupted run leaves their names here, a line
# each, and the next one carries on with them.
UNREAD = "/opt/comentarios/unread-files"
# What is wanted of a unit → systemctl's arguments.
COMMANDS = {"enabled": ["enable"], "started": ["enable", "--now"], "stopped": ["disable", "--now"]}
ARGUMENTS = {
    # Stages the files in a folder of this name, with which a release compares the live ones. Nothing live changes, so
    # this also happens in check mode. Without it, they are written to their final place.
    "run": {"type": "str"},
    # The folder that the names are relative to.
    "root": {"type": "str", "default": ""},
    # Name → content, or a dictionary with `content`, `mode` (0644), `owner` (root), `group` (the owner's), `validate`
    # (a command; %s in it is replaced by the path of a copy) and `then` (a command that runs after the units are
    # started, if the file changed; once, if several changed files have it). The host's journal shows them: a task whose
    # files contain secrets has `no_log`.
    "files": {"type": "dict", "default": {}},
    # Name → a dictionary with `mode` (0755), `owner` and `group`.
    "folders": {"type": "dict", "default": {}},
    # Files to remove.
    "absent": {"type": "list", "elements": "str", "default": []},
    # Unit → `enabled`, `started` (enabled, too) or `stopped` (disabled, too). They are stopped before files are removed
    # and started after files are written.
    "units": {"type": "dict", "default": {}},
}


class Writer:
    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._live = not module.params["run"]
        base = "" if self._live else os.path.join(STAGED, module.params["run"])
        self._root = os.path.join(base, module.params["root"])
        self._dry = module.check_mode and self._live
        self.written: list[str] = []
        self.diff: list[dict[str, str]] = []

    def run(self) -> None:
        units = self._module.params["units"]
        files = {
            os.path.join(self._root, name): {"content": given} if isinstance(given, str) else given
            for name, given in self._module.params["files"].items()
        }
        differ = {path for path, given in files.items() if self._differs(path, given)}
        # Before anything changes: the next run would find the files before an invalid one unchanged, and not load them.
        for path, given in files.items():
            if "validate" in given and path in differ and not self._dry:
                command = given["validate"].replace("%s", self._temporary(given["content"]))
                self._command(command, f"{path} is not valid")
        absent = [os.path.join(self._root, name) for name in self._module.params["absent"]]
        read = {path for path in [*files, *absent] if path.startswith(UNITS) or "then" in files.get(path, {})}
        unread = set(_text(UNREAD).splitlines()) if self._live else set()
        changing = differ.union(path for path in absent if os.path.lexists(path))
        self._record(unread | (read & changing))
        self._units({name: wanted for name, wanted in units.items() if wanted == "stopped"})
        for name, given in self._module.params["folders"].items():
            self._folder(os.path.join(self._root, name), given or {})
        for path, given in files.items():
            self._file(path, given, path in differ)
        for path in absent:
            if os.path.lexists(path):
                self._changed(path, _text(path), "")
                if not self._dry:
                    os.unlink(path)
        self.written += sorted((unread & read).difference(self.written))
        if any(path.startswith(UNITS) for path in self.written) and not self._dry:
            self._systemctl("daemon-reload")
        self._units({name: wanted for name, wanted in units.items() if wanted != "stopped"})
        then = [given["then"] for path, given in files.items() if path in self.written and "then" in given]
        for command in dict.fromkeys([] if self._dry else then):
            self._command(command)
        self._record(unread - read)

    def _record(self, unread: set[str]) -> None:
        """Replaces the list of the files that may not have been read."""
        if not self._live or self._dry or unread == set(_text(UNREAD).splitlines()):
            return
        if not unread:
            os.unlink(UNREAD)
            return
        os.makedirs(os.path.dirname(UNREAD), 0o755, exist_ok=True)
        # Replaced in one step, so that a kill does not lose what an earlier run noted. It need not survive a power cut:
        # programs read their files when the host boots.
        self._module.atomic_move(self._temporary("".join(f"{path}\n" for path in sorted(unread))), UNREAD)

    def _units(self, units: dict[str, str]) -> None:
        if not units:
            return
        shown = self._systemctl("show", "--property=UnitFileState,ActiveState", *units).strip().split("\n\n")
        for (name, wanted), state in zip(units.items(), shown, strict=True):
            enabled, active = (line in state.splitlines() for line in ("UnitFileState=enabled", "ActiveState=active"))
            if {"enabled": enabled, "started": enabled and active, "stopped": not enabled and not active}[wanted]:
                continue
            self._changed(name, f"{state}\n", f"{wanted}\n")
            if not self._dry:
                self._systemctl(*COMMANDS[wanted], name)

    def _systemctl(self, *arguments: str) -> str:
        return self._command(f"systemctl {' '.join(arguments)}")

    def _command(self, command: str, what: str = "") -> str:
        status, said, complained = self._module.run_command(command)
        if status:
            self._module.fail_json(msg=f"{what or command}: {(complained or said).strip()}")
        return str(said)

    def _folder(self, path: str, given: dict[str, str]) -> None:
        missing = not os.path.isdir(path)
        if missing and not self._dry:
            os.makedirs(path, 0o700 if not self._live else 0o755)
        if self._owned(path, given, "0755") or missing:
            self._changed(path, "", "")

    def _file(self, path: str, given: dict[str, str], differs: bool) -> None:
        before = _text(path)
        if differs and not self._dry:
            parent = os.path.dirname(path)
            if not os.path.isdir(parent):
                os.makedirs(parent, 0o755)
            self._module.atomic_move(self._temporary(given["content"]), path)
        if self._owned(path, given, "0644") or differs:
            self._changed(path, before, given["content"])

    def _differs(self, path: str, given: dict[str, str]) -> bool:
        return not os.path.isfile(path) or given["content"] != _text(path)

    def _temporary(self, content: str) -> str:
        """The path of a file with this content, in Ansible's temporary folder."""
        handle, path = tempfile.mkstemp(dir=self._module.tmpdir)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
        return str(path)

    def _owned(self, path: str, given: dict[str, str], mode: str) -> bool:
        """Sets mode and owner of a path; returns whether they changed."""
        if not os.path.lexists(path):
            return True
        owner = given.get("owner", "root")
        wanted = {"mode": given.get("mode", mode), "owner": owner, "group": given.get("group", owner)}
        attributes = self._module.load_file_common_arguments(wanted, path=path)
        return bool(self._module.set_fs_attributes_if_different(attributes, False))

    def _changed(self, path: str, before: str, after: str) -> None:
        self.written.append(path)
        self.diff.append({"before_header": path, "after_header": path, "before": before, "after": after})


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as stream:
            return stream.read()
    except (FileNotFoundError, IsADirectoryError):
        return ""


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    writer = Writer(module)
    try:
        if module.params["run"]:
            os.makedirs(STAGED, 0o700, exist_ok=True)
        writer.run()
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    if module.params["run"]:
        module.exit_json(changed=False, written=writer.written)
    module.exit_json(changed=bool(writer.written), written=writer.written, diff=writer.diff)


if __name__ == "__main__":
    main()
