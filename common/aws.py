"""Clients of AWS's services, by botocore, which imports twice as fast as boto3. All threads share them."""

import socket
import threading
from functools import cache
from typing import Any

import botocore.session
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from common import keys
from common.config import REGION, Config

# Creating clients is not thread-safe, using them is. A session reads the services' models once.
making = threading.Lock()
_session = botocore.session.Session()


def client(config: Config, service: str, region: str = REGION) -> Any:
    """The client of a service of a sandbox, whatever the environment says."""
    return _client(config.endpoint, keys.load(config.state), service, region)


@cache
def _client(endpoint: str, own: keys.Keys, service: str, region: str) -> Any:
    with making:
        return _session.create_client(
            service,
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id=own.access,
            aws_secret_access_key=own.secret,
            config=ClientConfig(proxies={}, retries={"max_attempts": 2}, connect_timeout=3, read_timeout=20),
        )


def answers(config: Config) -> bool:
    """Whether a sandbox's APIs answer and accept its key."""
    with socket.socket() as probe:
        # Fails at once, where botocore would retry.
        probe.settimeout(3)
        if probe.connect_ex((config.gateway, config.aws_port)):
            return False
    try:
        client(config, "sts").get_caller_identity()
    # Another program may listen there.
    except (BotoCoreError, ClientError, ResponseParserError):
        return False
    return True
