"""The kernel settings in a network namespace: they also apply to existing interfaces."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from common.paths import ROOT

SETTINGS = yaml.safe_load((ROOT / "roles/base/vars/main.yml").read_text())["_base_sysctl"]
GLOBS = {name: value for name, value in SETTINGS.items() if "*" in name}
SCRIPT = """
set -e
ip link add before type veth peer name peer
for name in all default before peer; do
  for key in accept_redirects secure_redirects send_redirects accept_source_route; do
    echo 1 > /proc/sys/net/ipv4/conf/$name/$key
  done
  echo 0 > /proc/sys/net/ipv4/conf/$name/rp_filter
  for key in accept_redirects accept_source_route; do echo 1 > /proc/sys/net/ipv6/conf/$name/$key; done
done
sysctl --quiet --load="$1"
ip link add after type veth peer name peer2
cd /proc/sys
for file in $2; do echo "$file $(cat $file)"; done
"""


@pytest.mark.parametrize("name", list(GLOBS))
def test_interfaces_that_exist(name: str, tmp_path: Path) -> None:
    (tmp_path / "sysctl.conf").write_text("".join(f"{key} = {value}\n" for key, value in GLOBS.items()))
    command = ["unshare", "--net", "sh", "-c", SCRIPT, "sh", str(tmp_path / "sysctl.conf"), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    read = dict(line.split() for line in done.stdout.splitlines())
    interfaces = {file.split("/")[3] for file in read}
    assert {"all", "default", "before", "after"} <= interfaces
    assert set(read.values()) == {str(GLOBS[name])}
