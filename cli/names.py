"""What the things of one environment are called, on AWS and on this machine: derived here, and read everywhere else.

Terraform gets the names as variables and writes the name into the tag Project, where Ansible reads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cli.errors import VerbError

DEFAULT_PROJECT = "comentarios"
# Bucket names are the name, the account, the region and a suffix, together at most 63 characters.
LONGEST = 28
# What AWS refuses at the beginning of some name of ours: of a bucket, a parameter, a security group, a load balancer.
RESERVED = r"xn--|sthree-|amzn-s3-demo-|aws|ssm|sg-|internal-"


@dataclass(frozen=True)
class Names:
    """The names of one environment of a project.

    Attributes:
        project: what PROJECT says.
        environment: what ENV says; empty for the unnamed one, whose names have nothing of it.
    """

    project: str = DEFAULT_PROJECT
    environment: str = ""

    @property
    def name(self) -> str:
        """The prefix of every name on AWS, and the value of the tag Project.

        The environment comes first: an IAM policy for ``comentarios-*`` must not match ``staging-comentarios-…``.
        """
        return "-".join(filter(None, (self.environment, self.project)))

    @property
    def suffix(self) -> str:
        """What follows the target in the name of a file or folder of this machine; empty for the default."""
        project = "" if self.project == DEFAULT_PROJECT else f".{self.project}"
        return (f"-{self.environment}" if self.environment else "") + project

    @property
    def repository(self) -> str:
        """The API's repository in ECR."""
        return f"{self.name}-api"

    def iam(self, region: str) -> str:
        """The prefix in IAM, which has no regions; the unnamed environment's has none in it either."""
        return f"{self.name}-{region}" if self.environment else self.name

    def state_bucket(self, account: str, region: str) -> str:
        return f"{self.name}-{account}-{region}-state"

    def parameter(self, path: str) -> str:
        """A parameter's whole name in SSM Parameter Store."""
        return f"/{self.name}/{path}"

    def given(self) -> str:
        """The variables that name this environment, as they stand before a verb; empty for the default."""
        project = f"PROJECT={self.project}" if self.project != DEFAULT_PROJECT else ""
        return " ".join(filter(None, (f"ENV={self.environment}" if self.environment else "", project)))

    def variables(self, region: str | None) -> dict[str, str]:
        """The environment's variables by which the tools know the names."""
        found = {"ENV": self.environment, "PROJECT": self.project, "COMENTARIOS_NAME": self.name}
        found["TF_VAR_project"] = self.name
        if region:
            found["TF_VAR_iam_prefix"] = self.iam(region)
        # GitHub's own environment of that name releases it.
        found["TF_VAR_github_environment"] = self.environment or "production"
        return found


def names(environment: Mapping[str, str]) -> Names:
    """The names that ENV and PROJECT ask for.

    Raises:
        VerbError: together they are too long, or begin with what AWS keeps for itself.
    """
    found = Names(environment.get("PROJECT") or DEFAULT_PROJECT, environment.get("ENV") or "")
    if len(found.name) > LONGEST:
        raise VerbError(f"{found.given()}: {found.name} is longer than {LONGEST} characters, the most for S3's buckets")
    if reserved := re.match(RESERVED, found.name):
        raise VerbError(f"{found.given()}: AWS keeps names that begin with {reserved[0]} for itself, take another")
    return found
