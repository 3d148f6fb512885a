"""AWS on this machine, without an account: the EC2, S3, ECR, IAM, STS and SSM APIs, and real hosts behind them.

The command is ``python -m sandbox up | sync | status | down``. docs/decisions.md explains the choice of each part.
"""
