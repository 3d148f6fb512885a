"""`kill -9` under load: each acknowledged comment must be stored exactly once."""

import http.client
import json
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import servers

WRITERS = 8


@dataclass
class Outcome:
    """Comments acknowledged before some kill; of those, how many are not there or there more than once.

    unanswered: sent, but the kill came before the reply; these may be there or not, at most once.
    """

    kills: int = 0
    acknowledged: int = 0
    unanswered: int = 0
    lost: int = 0
    doubled: int = 0


def kill_rounds(database_url: str, rounds: int, seconds: float) -> Outcome:
    """Start the API, write from eight clients for `seconds`, `kill -9`; so many times; then count."""
    outcome = Outcome()
    acknowledged: set[str] = set()
    sent: set[str] = set()
    for number in range(rounds):
        server = servers.api(database_url)
        writers = [_Writer(server.url, f"{number}-{writer}") for writer in range(WRITERS)]
        for writer in writers:
            writer.start()
        time.sleep(seconds)
        server.kill()
        for writer in writers:
            writer.join(30)
            acknowledged |= writer.acknowledged
            sent |= writer.sent
        outcome.kills += 1
    outcome.acknowledged = len(acknowledged)
    outcome.unanswered = len(sent - acknowledged)
    with servers.api(database_url) as server:
        counts: dict[str, int] = {}
        for number in range(rounds):
            for text in servers.read_thread(server.url, f"kill-{number}"):
                counts[text] = counts.get(text, 0) + 1
    outcome.lost = sum(text not in counts for text in acknowledged)
    outcome.doubled = sum(count > 1 for count in counts.values())
    unknown = counts.keys() - sent
    if unknown:
        raise RuntimeError(f"comments that nobody sent: {sorted(unknown)[:3]}")
    return outcome


class _Writer(threading.Thread):
    """Posts until the server is gone; never sends a comment twice."""

    def __init__(self, url: str, name: str):
        super().__init__(daemon=True)
        self._address = urlsplit(url).netloc
        self._prefix = name
        self.acknowledged: set[str] = set()
        self.sent: set[str] = set()

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        headers = {"Content-Type": "application/json"}
        number = 0
        while True:
            text = f"{self._prefix}-{number}"
            number += 1
            body = {
                "email": "alice@example.com",
                "comment": text,
                "content_id": f"kill-{self._prefix.split('-')[0]}",
            }
            try:
                self.sent.add(text)
                connection.request("POST", "/api/comment/new", json.dumps(body), headers)
                reply = connection.getresponse()
                if reply.status == 200 and json.load(reply)["status"] == "SUCCESS":
                    self.acknowledged.add(text)
            except (OSError, http.client.HTTPException, ValueError):
                return
