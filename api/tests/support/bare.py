"""The smallest Flask application: a fixed reply."""

from flask import Flask

app = Flask(__name__)


@app.route("/")
def fixed() -> str:
    return "ok"
