"""The certificate for ECR's name, and the authority that signs it."""

import trustme

from common import files
from common.config import ECR_HOST, Config


def make(config: Config) -> None:
    """Creates this sandbox's CA and a certificate for ECR's name, once per sandbox."""
    if (config.state / "ecr.key").exists():
        return
    authority = trustme.CA()
    certificate = authority.issue_cert(ECR_HOST, "127.0.0.1")
    files.write(config.state / "ca.pem", authority.cert_pem.bytes().decode())
    files.write(config.state / "ecr.pem", certificate.cert_chain_pems[0].bytes().decode())
    files.write(config.state / "ecr.key", certificate.private_key_pem.bytes().decode())
