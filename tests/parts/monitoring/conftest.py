"""promtool and amtool from the stack's images."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from common.config import Config
from common.docker import inspect
from common.images import IMAGE_VARIABLES, STAND_INS, available, base
from sandbox import images
from tests.support.site import ROOT, run

Tool = Callable[..., subprocess.CompletedProcess]


def pytest_configure(config: pytest.Config) -> None:
    # The SDK says so of every dashboard in the classic schema, the only one that file provisioning takes.
    config.addinivalue_line("filterwarnings", "ignore:Prefer using dashboardv2:DeprecationWarning")


def _image(variable: str) -> str:
    """The image that hosts run: upstream's if it is available, else its stand-in."""
    upstream = yaml.safe_load(IMAGE_VARIABLES.read_text())[variable]
    if inspect("image", upstream) or available(upstream):
        return upstream
    config = Config()
    return images.ensure(config, STAND_INS[variable], base(config.state))


def _tool(image: str, name: str) -> Tool:
    def tool(*arguments: str, files: Path = ROOT) -> subprocess.CompletedProcess:
        """Run the tool on the folder `files`, which it sees as /files; both streams in `stdout`."""
        # Go collects garbage a quarter as often: a third of promtool's time.
        container = ["docker", "run", "--rm", "--network=none", "--user=0:0", "--env=GOGC=400"]
        place = [f"--volume={files}:/files:ro", "--workdir=/files", f"--entrypoint={name}"]
        return run([*container, *place, image, *arguments], timeout=300)

    return tool


@pytest.fixture(scope="session")
def prometheus_image() -> str:
    return _image("prometheus_image")


@pytest.fixture(scope="session")
def alertmanager_image() -> str:
    return _image("alertmanager_image")


@pytest.fixture(scope="session")
def promtool(prometheus_image: str) -> Tool:
    return _tool(prometheus_image, "promtool")


@pytest.fixture(scope="session")
def amtool(alertmanager_image: str) -> Tool:
    return _tool(alertmanager_image, "amtool")
