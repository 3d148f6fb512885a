"""The names of one environment, on AWS and on this machine. Only this module derives them.

Terraform gets them as variables and writes the name into the tag Project, where Ansible reads it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from common.errors import CommandError

DEFAULT_PROJECT = "comentarios"
# Bucket names are the name, the account, the region and a suffix, together at most 63 characters.
MAX_LENGTH = 28
# Prefixes that AWS refuses in the name of a bucket, a parameter, a security group or a load balancer.
RESERVED = r"xn--|sthree-|amzn-s3-demo-|aws|ssm|sg-|internal-"


@dataclass(frozen=True)
class Names:
    """The names of one environment of a project.

    Attributes:
        project: what PROJECT says.
        environment: what ENV says; empty for the unnamed one.
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
        """What follows the target in the name of a local file or folder; empty for the default."""
        project = "" if self.project == DEFAULT_PROJECT else f".{self.project}"
        return (f"-{self.environment}" if self.environment else "") + project

    @property
    def repository(self) -> str:
        """The API's repository in ECR."""
        return f"{self.name}-api"

    def iam(self, region: str) -> str:
        """The prefix in IAM, which has no regions, so it contains the region; the unnamed environment's does not."""
        return f"{self.name}-{region}" if self.environment else self.name

    def state_bucket(self, account: str, region: str) -> str:
        return f"{self.name}-{account}-{region}-state"

    def backup_bucket(self, account: str, region: str) -> str:
        """As in terraform/storage.tf and inventory/group_vars/all/backup.yml."""
        return f"{self.name}-{account}-{region}-backup"

    def parameter(self, path: str) -> str:
        """A parameter's whole name in SSM Parameter Store."""
        return f"/{self.name}/{path}"

    def given(self) -> str:
        """The inputs that choose this environment, as a user gives them; empty for the default."""
        project = f"PROJECT={self.project}" if self.project != DEFAULT_PROJECT else ""
        return " ".join(filter(None, (f"ENV={self.environment}" if self.environment else "", project)))

    def variables(self, region: str | None) -> dict[str, str]:
        """The environment variables that pass the names to the tools."""
        found = {"ENV": self.environment, "PROJECT": self.project, "COMENTARIOS_NAME": self.name}
        found["TF_VAR_project"] = self.name
        if region:
            found["TF_VAR_iam_prefix"] = self.iam(region)
        # The environment of that name on GitHub may release.
        found["TF_VAR_github_environment"] = self.environment or "production"
        return found


def names(environment: Mapping[str, str]) -> Names:
    """The names that ENV and PROJECT choose.

    Raises:
        CommandError: together they are too long, or begin with a prefix that AWS reserves.
    """
    found = Names(environment.get("PROJECT") or DEFAULT_PROJECT, environment.get("ENV") or "")
    if len(found.name) > MAX_LENGTH:
        raise CommandError(
            f"{found.given()}: {found.name} is longer than {MAX_LENGTH} characters, the limit for names of S3 buckets"
        )
    if reserved := re.match(RESERVED, found.name):
        raise CommandError(f"{found.given()}: AWS reserves names that begin with {reserved[0]}; choose another")
    return found
