"""The edge's configuration, as rendered by role stack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import yaml

STACK = Path(__file__).resolve().parents[2] / "roles" / "stack"


def _variables(path: Path) -> dict[str, Any]:
    values = yaml.safe_load(path.read_text())
    assert isinstance(values, dict)
    return values


def rendered(**variables: object) -> str:
    """haproxy.cfg for these variables, and the role's own where none are given."""
    given = _variables(STACK / "defaults" / "main.yml") | _variables(STACK / "vars" / "main.yml")
    given |= {"grafana_enabled": True, "_stack_acme_address": "172.17.0.1:8089", "ansible_managed": ""} | variables
    # As Ansible renders templates.
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    return environment.from_string((STACK / "templates/haproxy/haproxy.cfg.j2").read_text()).render(given)
