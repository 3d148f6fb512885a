"""AWS on this machine, without an account: the EC2, S3, ECR, IAM, STS and SSM APIs, and real hosts behind them.

docs/decisions.md explains the choice of each part.
"""
