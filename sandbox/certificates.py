"""The certificate for ECR's names, and the authority that signs it."""

import trustme

from common import files
from common.config import Config, ecr_host, regions


def make(config: Config) -> None:
    """Creates this sandbox's CA and a certificate for ECR's name in each region, once per sandbox."""
    if (config.state / "ecr.key").exists():
        return
    authority = trustme.CA()
    certificate = authority.issue_cert(*map(ecr_host, regions()), "127.0.0.1")
    files.write(config.state / "ca.pem", authority.cert_pem.bytes().decode())
    files.write(config.state / "ecr.pem", certificate.cert_chain_pems[0].bytes().decode())
    files.write(config.state / "ecr.key", certificate.private_key_pem.bytes().decode())
