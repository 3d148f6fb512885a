"""The unit tests of every storage engine, with PostgreSQL."""

import pytest
from postgres import Postgres
from test_conditional import *  # noqa: F403
from test_contract import *  # noqa: F403
from test_listing import *  # noqa: F403
from test_moderation import *  # noqa: F403
from test_storage import *  # noqa: F403
from test_validation import test_longest_comment, test_other_requests

__all__ = ["test_longest_comment", "test_other_requests"]


@pytest.fixture
def database_url(postgres: Postgres) -> str:
    return postgres.new_database()
