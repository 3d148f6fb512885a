"""The instances and load balancers that the APIs list, for clients with the sandbox's keys.

A command that asks for it needs no client of AWS, whose import and whose descriptions of services take half a second.
"""

import hmac
import http.client
import json
from dataclasses import asdict, dataclass
from typing import Any

from common import keys
from common.config import Config
from sandbox import ec2, elb

# On the port of the metadata service. The proof is for this name, which no instance has.
PATH, NAME, PROOF = "/overview", "overview", "X-Sandbox-Proof"


@dataclass(frozen=True)
class Overview:
    """The instances, and the load balancers as ``elb.balancers`` describes them."""

    instances: list[ec2.Instance]
    balancers: list[dict[str, Any]]


def ask(config: Config) -> Overview | None:
    """Asks the process; None if it does not answer, if its APIs do not, or if it is another sandbox's."""
    connection = http.client.HTTPConnection(config.gateway, config.metadata_port, timeout=3)
    try:
        connection.connect()
        connection.sock.settimeout(20)
        connection.request("GET", PATH, headers={PROOF: keys.load(config.state).proof(NAME)})
        reply = connection.getresponse()
        if reply.status != 200:
            return None
        told = json.loads(reply.read())
        return Overview([ec2.Instance(**one) for one in told["instances"]], told["balancers"])
    # Another program may listen there.
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return None
    finally:
        connection.close()


def tell(config: Config, proof: str) -> str | None:
    """The answer of the process, as JSON; None without the proof."""
    if not hmac.compare_digest(keys.load(config.state).proof(NAME).encode(), proof.encode()):
        return None
    instances = [asdict(one) for one in ec2.instances(config)]
    # It contains times, which nobody reads.
    return json.dumps({"instances": instances, "balancers": elb.balancers(config)}, default=str)
