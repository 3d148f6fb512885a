"""A rebuild of the API's image gets today's packages."""

from __future__ import annotations

import subprocess
import time

from tests.support.releases import Releases
from tests.support.site import Site


def test_rebuild_is_a_release_of_its_own(up: Site, releases: Releases) -> None:
    """The same sources, without the builder's cache, so that security updates of Debian get in."""
    done = up.make("release", REBUILD="yes", WATCH="1")
    assert done.returncode == 0, done.stdout[-3000:]
    live = releases.live()
    assert live["tag"].endswith(time.strftime("-%Y%m%d", time.gmtime()))
    simulate = ("docker", "run", "--rm", "--user", "0:0", "--entrypoint", "sh", f"comentarios-api:{live['tag']}", "-c")
    upgrades = subprocess.run(
        [*simulate, "apt-get -qq update && apt-get -qq --simulate upgrade"], capture_output=True, text=True, check=True
    )
    assert "\nInst " not in f"\n{upgrades.stdout}"
    again = up.make("image", REBUILD="yes")
    assert again.returncode == 0 and f"{live['tag']} is in ECR" in again.stdout and "building" not in again.stdout
