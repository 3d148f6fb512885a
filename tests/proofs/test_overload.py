"""Overload: at twice the rate that the site carries, it refuses at once what it cannot serve.

The host gets a part of a core, so that the load's own process is not what saturates.
"""

from __future__ import annotations

import tables

from tests.support import crowd
from tests.support.capped import capped
from tests.support.releases import Releases

CORES = 0.4  # what a t3.small may use for as long as it likes
GUESS = 800  # requests a second that it carries, about
SECONDS, RECOVERY = 20, 10.0  # of a phase, and until all is well again
# Seconds that the load may be late, or it is tried again: it sends in one burst what other work on the machine held up.
LATE, TRIES = 0.2, 3


def test_twice_the_rate_and_back(releases: Releases) -> None:
    with crowd.prepared(releases), capped(releases, CORES):
        rate = crowd.carried(lambda rate: crowd.step(releases, rate).calm, GUESS)
        assert rate, "the site carries nothing"
        for _ in range(TRIES):
            over, back = crowd.phase(releases, 2 * rate, SECONDS), crowd.phase(releases, rate // 2, SECONDS)
            if max(crowd.p99(over.late), crowd.p99(back.late)) <= LATE:
                break
    served = [one.seconds for one in over.seen if not one.problem]
    refused = [one.seconds for one in over.seen if one.problem]
    problems = {one.problem for one in over.seen if one.problem}
    begin = min(one.begin for one in back.seen)
    settled = [one for one in back.seen if one.begin > begin + RECOVERY]
    failed = sum(bool(one.problem) for one in settled)
    calm = crowd.p99(one.seconds for one in settled)
    tables.add(
        f"| a host with {CORES} of a core | requests/s | served | p99 s | refused | p99 s | load late, p99 s |",
        "|---|--:|--:|--:|--:|--:|--:|",
        f"| twice the rate that it carries | {2 * rate} | {len(served)} | {crowd.p99(served):.2f} |"
        f" {len(refused)} | {crowd.p99(refused):.2f} | {crowd.p99(over.late):.2f} |",
        f"| then half of it, after {RECOVERY:.0f} s | {rate // 2} | {len(settled) - failed} |"
        f" {calm:.2f} | {failed} | | {crowd.p99(back.late):.2f} |",
    )
    assert served and problems <= {"status 503"} and not over.without_retry_after, problems
    assert crowd.p99(served) <= 1 and crowd.p99(refused) <= 1
    assert not failed and calm <= crowd.CALM
    assert releases.missing(over.acknowledged) == 0
