"""Ignores the SDK's warning about the classic schema, the only one that file provisioning accepts."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "ignore:Prefer using dashboardv2:DeprecationWarning")
