"""The certificate of a host's domain. A pending one is not a failure: one line says what is missing."""

from subprocess import CompletedProcess

from cli.host import Host

PENDING = "pending"
FOLDER = "/var/lib/comentarios-edge/certificates"


def probe(one: Host) -> str:
    """The command on a host that asks the API through the edge. Without a certificate it prints the domain's addresses.

    It asks on the host, so that DNS does not matter; the certificate is still verified.
    """
    url = f"https://{one.domain}/readyz" if one.domain else "http://127.0.0.1/readyz"
    asked = f"curl --silent --show-error --fail --max-time 10 --connect-to ::127.0.0.1: {url}"
    if not one.domain:
        return asked
    known = f"getent ahostsv4 {one.domain} | cut --delimiter=' ' --fields=1 | sort --unique"
    return f"{asked} || {{ sudo test ! -e {FOLDER}/{one.domain}.pem && echo {PENDING} && {known}; }}"


def pending(one: Host, answer: CompletedProcess[str]) -> str:
    """What to do about a host's first certificate, from the answer to `probe`; empty if it has one or needs none."""
    word, *found = answer.stdout.split() or [""]
    if word != PENDING:
        return ""
    address = one.public or one.address
    then = "the certificate follows within half an hour, or at once with `make up`"
    record = f"create the DNS record `{one.domain} A {address}`"
    if not found:
        return f"{record}; {then}"
    if address not in found:
        return f"{one.domain} resolves to {', '.join(found)}, but this host is {address}: {record}; {then}"
    reason = "make ssh CMD='sudo journalctl -u comentarios-certbot -n 20'"
    return f"the authority has not issued one for {one.domain} yet: {reason} shows why"
