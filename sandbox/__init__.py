"""AWS on this machine: real parts behind the EC2, S3, ECR, IAM, STS and SSM APIs, with no account.

The command is ``python -m sandbox up | sync | status | down``; docs/decisions.md says why each part is what it is.
"""
