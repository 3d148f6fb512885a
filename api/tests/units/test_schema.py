"""Generated input: schemathesis with all its checks, and hypothesis' bodies."""

import json
import sys
from collections.abc import Iterator

import pytest
from bodies import BODIES, CONTENT_TYPES
from comentarios.app import create_app
from comentarios.config import Settings
from comentarios.draining import Draining
from comentarios.validation import _PLAIN_EMAIL
from email_validator import validate_email
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# jsonschema would build parsers from it for more than a second, for IRIs, which no schema here has.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    folder = tmp_path_factory.mktemp("schema")
    app = create_app(Settings(database_url=f"sqlite:///{folder}/comentarios.db", log_level="warning"), Draining())
    yield app
    app.extensions["storage"].close()


def test_description_is_valid_openapi(application: Flask) -> None:
    # Slow to import, which every worker would wait for.
    from openapi_spec_validator import OpenAPIV31SpecValidator

    document = application.test_client().get("/openapi.json").get_json()
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


def test_any_body_gets_a_proper_answer(application: Flask) -> None:
    # Likewise.
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

    client = application.test_client()
    components = client.get("/openapi.json").get_json()["components"]
    error = Draft202012Validator({"$ref": "#/components/schemas/Error", "components": components})
    seen = set()

    @given(BODIES, CONTENT_TYPES)
    @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def ask(body: bytes, content_type: str) -> None:
        reply = client.post("/api/comment/new", data=body, content_type=content_type)
        seen.add(reply.status_code)
        assert reply.status_code in (200, 400, 413, 415), (reply.status_code, body)
        assert reply.mimetype == "application/json"
        if reply.status_code == 200:
            assert reply.get_json()["status"] == "SUCCESS"
            content_id = json.loads(body)["content_id"]
            assert reply.get_json()["message"].endswith(f" {content_id}")
        else:
            error.validate(reply.get_json())

    ask()
    assert {200, 400, 415} <= seen


@given(st.from_regex(_PLAIN_EMAIL, fullmatch=True))
@settings(max_examples=150, deadline=None, database=None)
def test_fast_path_for_addresses_lets_nothing_wrong_through(address: str) -> None:
    validate_email(address, check_deliverability=False)
