"""/openapi.json, and /docs: a page to read and try the API. It loads nothing from other servers."""

import base64
import hashlib
import re
from pathlib import Path

from flask import Flask, Response

from . import replies
from .config import Settings
from .openapi import document

PAGE = Path(__file__).with_name("docs.html")


def init_app(app: Flask, settings: Settings) -> None:
    """Serve both."""
    description = replies.encode(document(settings.version))
    page = PAGE.read_text(encoding="utf-8")
    policy = _policy(page)

    def openapi() -> Response:
        return Response(description, mimetype=replies.JSON)

    def docs() -> Response:
        return Response(page, mimetype="text/html", headers={"Content-Security-Policy": policy})

    app.add_url_rule("/openapi.json", view_func=openapi, provide_automatic_options=False)
    app.add_url_rule("/docs", view_func=docs, provide_automatic_options=False)


def _policy(page: str) -> str:
    """Allows only the page's own script and style, and connections to this server only."""
    hashes = {}
    for tag in ("script", "style"):
        found = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert found
        digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
        hashes[tag] = f"{tag}-src 'sha256-{digest}'"
    return f"default-src 'none'; connect-src 'self'; {hashes['script']}; {hashes['style']}; base-uri 'none'"
