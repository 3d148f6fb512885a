"""Run a function in several threads."""

import threading
from collections.abc import Callable
from typing import Any


def in_threads(count: int, function: Callable[[int], object]) -> list[Any]:
    """Run `function(number)` in so many threads at once; what they returned or raised."""
    results: list[Any] = [None] * count

    def run(number: int) -> None:
        try:
            results[number] = function(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results
