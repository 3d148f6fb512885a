"""Clients of AWS's services, by botocore, which imports twice as fast as boto3. All threads share them."""

import threading
from functools import cache
from typing import Any

from common import keys
from common.config import REGION, Config

# Creating clients is not thread-safe, using them is.
making = threading.Lock()


def client(config: Config, service: str, region: str = REGION) -> Any:
    """The client of a service of a sandbox, whatever the environment says."""
    return _client(config.endpoint, keys.load(config.state), service, region)


@cache
def _client(endpoint: str, own: keys.Keys, service: str, region: str) -> Any:
    # A slow import that not every command needs.
    from botocore.config import Config as ClientConfig

    with making:
        return session().create_client(
            service,
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id=own.access,
            aws_secret_access_key=own.secret,
            config=ClientConfig(proxies={}, retries={"max_attempts": 2}, connect_timeout=3, read_timeout=20),
        )


@cache
def session(profile: str | None = None) -> Any:
    """One for all clients: each session reads the services' models and the descriptions of all regions."""
    import botocore.session

    return botocore.session.Session(profile=profile)
