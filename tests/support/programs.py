"""All programs of the repository for the linters, found by their first line."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

# Interpreter in the first line → language. Another one has no linter yet, and a test says so.
LANGUAGES = {"sh": "shell", "bash": "shell", "python3": "python"}
FIRST_LINE = re.compile(r"#!\s*(\S+)(?:[ \t]+(\S+))?")


@dataclass(frozen=True)
class Program:
    """A program.

    Attributes:
        path: its file, relative to the repository; a step of a workflow has its job and its number behind it.
        language: one of LANGUAGES, or else the interpreter's name.
        text: what is run: a template's is rendered.
        as_it_is: whether the file itself is the program.
    """

    path: str
    language: str
    text: str
    as_it_is: bool


def tracked(root: Path, *patterns: str) -> list[str]:
    """Files of these patterns (without any: all) that git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    names = sorted({name for name in listed.stdout.split("\0") if name})
    return [name for name in names if (root / name).is_file() and not (root / name).is_symlink()]


def find(root: Path) -> list[Program]:
    """The programs of a repository: files, templates, and the steps of GitHub's workflows."""
    found = []
    for name in tracked(root):
        with (root / name).open("rb") as file:
            if file.read(2) != b"#!":
                continue
        text = (root / name).read_text()
        found.append(
            Program(name, language(text), render(text) if name.endswith(".j2") else text, not name.endswith(".j2"))
        )
    for name in tracked(root, ".github/workflows/*.yml"):
        jobs = yaml.safe_load((root / name).read_text())["jobs"]
        for job, steps in ((job, content.get("steps", [])) for job, content in jobs.items()):
            for number, step in enumerate(steps, 1):
                if "run" in step:
                    # GitHub's own shell and options; an expression in a script is zizmor's matter.
                    script = re.sub(r"\$\{\{.*?\}\}", "placeholder", step["run"])
                    text = f"#!/bin/bash\nset -e\n{script}"
                    found.append(Program(f"{name}-{job}-{number}", "shell", text, False))
    return found


def language(text: str) -> str:
    """The language that a first line names: `#!/bin/sh`, `#!/usr/bin/env python3`."""
    matched = FIRST_LINE.match(text)
    if not matched:
        return "none"
    interpreter = matched[2] if Path(matched[1]).name == "env" and matched[2] else matched[1]
    return LANGUAGES.get(Path(interpreter).name, Path(interpreter).name)


class _Placeholder(jinja2.Undefined):
    """A variable: a name that is good in every place that a program may have it in."""

    def __str__(self) -> str:
        return "placeholder"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self


def render(template: str) -> str:
    """The program that a template makes, each of its variables being the word `placeholder`."""
    # As Ansible's template module sets Jinja.
    environment = jinja2.Environment(undefined=_Placeholder, trim_blocks=True, keep_trailing_newline=True)
    environment.filters["to_json"] = lambda value: json.dumps(str(value))
    return environment.from_string(template).render()
