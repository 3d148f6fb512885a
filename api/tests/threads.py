"""Several threads that do the same."""

import threading


def in_threads(count, function):
    """Run `function(number)` in so many threads at once; what they returned or raised."""
    results = [None] * count

    def run(number):
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
