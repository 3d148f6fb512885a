"""The challenge's original, written from its contract: a dict in one process."""

from flask import Flask, Response, jsonify, request

app = Flask(__name__)
comments: dict[str, list[dict[str, str]]] = {}


@app.route("/api/comment/new", methods=["POST"])
def new() -> Response:
    body = request.get_json()
    content_id = str(body["content_id"])
    comments.setdefault(content_id, []).append({"email": body["email"], "comment": body["comment"]})
    message = f"comment created and associated with content_id {content_id}"
    return jsonify({"status": "SUCCESS", "message": message})


@app.route("/api/comment/list/<content_id>")
def listing(content_id: str) -> Response | tuple[Response, int]:
    if content_id not in comments:
        return jsonify({"status": "NOT-FOUND", "message": f"content_id {content_id} not found"}), 404
    return jsonify(comments[content_id])
