"""The certificate of a host's domain: a pending one is no failure, and what is missing is told in a line."""

from __future__ import annotations

from subprocess import CompletedProcess

from cli.host import Host

PENDING = "pending"
FOLDER = "/var/lib/comentarios-edge/certificates"


def probe(one: Host) -> str:
    """The command on a host that asks the API through the edge; without a certificate, for the domain's addresses.

    On the host itself, whatever the domain's DNS record says; the certificate is checked all the same.
    """
    url = f"https://{one.domain}/readyz" if one.domain else "http://127.0.0.1/readyz"
    asked = f"curl --silent --show-error --fail --max-time 10 --connect-to ::127.0.0.1: {url}"
    if not one.domain:
        return asked
    known = f"getent ahostsv4 {one.domain} | cut --delimiter=' ' --fields=1 | sort --unique"
    return f"{asked} || {{ sudo test ! -e {FOLDER}/{one.domain}.pem && echo {PENDING} && {known}; }}"


def pending(one: Host, answer: CompletedProcess[str]) -> str:
    """What to do for a host's first certificate, by the answer to `probe`; empty where it has one or needs none."""
    word, *found = answer.stdout.split() or [""]
    if word != PENDING:
        return ""
    address = one.public or one.address
    then = "it is then there within half an hour, or at once by `make up`"
    record = f"make the DNS record `{one.domain} A {address}`"
    if not found:
        return f"{record}; {then}"
    if address not in found:
        return f"{one.domain} is {', '.join(found)}, this host is {address}: {record}; {then}"
    return f"the authority gave none for {one.domain} yet: make ssh CMD='sudo journalctl -u comentarios-certbot -n 20'"
