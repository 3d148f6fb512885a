# --- GitHub's workflow: a token for each run instead of a key --------------------------------------------------------

locals {
  pipeline_count = var.github_repository == null ? 0 : 1
  github_issuer  = "token.actions.githubusercontent.com"

  # With the ids, the names alone are not trusted: somebody else may get an abandoned name.
  github_subject = var.github_repository == null || var.github_repository_ids == null ? var.github_repository : format(
    "%s@%d/%s@%d",
    split("/", var.github_repository)[0], var.github_repository_ids.owner,
    split("/", var.github_repository)[1], var.github_repository_ids.repository,
  )

  github_oidc_provider_arn = var.github_oidc_provider_arn != null ? var.github_oidc_provider_arn : one(aws_iam_openid_connect_provider.github[*].arn)
}

resource "aws_iam_openid_connect_provider" "github" {
  count = var.github_oidc_provider_arn == null ? local.pipeline_count : 0

  url            = "https://${local.github_issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "pipeline_trust" {
  count = local.pipeline_count

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [local.github_oidc_provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.github_issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }

    # The environment's subject: the environment has reviewers and a branch. A branch's subject would bypass them.
    condition {
      test     = "StringEquals"
      variable = "${local.github_issuer}:sub"
      values   = ["repo:${local.github_subject}:environment:${var.github_environment}"]
    }
  }
}

data "aws_iam_policy_document" "pipeline" {
  # AWS has no resource for logging in to ECR.
  #checkov:skip=CKV_AWS_356:ecr:GetAuthorizationToken and EC2's Describe actions take no resource but *
  statement {
    sid       = "LogInToTheRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid = "PushTheApi"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:CompleteLayerUpload",
      "ecr:DescribeImages",
      "ecr:DescribeRepositories",
      "ecr:InitiateLayerUpload",
      "ecr:PutImage",
      "ecr:UploadLayerPart",
    ]
    resources = [aws_ecr_repository.api.arn]
  }

  statement {
    sid       = "FindTheHosts"
    actions   = ["ec2:DescribeInstances", "ec2:DescribeSecurityGroups"]
    resources = ["*"]
  }

  statement {
    sid       = "OpenAndCloseSsh"
    actions   = ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"]
    resources = ["arn:${local.partition}:ec2:${local.region}:${local.account_id}:security-group/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Project"
      values   = [var.project]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/SshAccess"
      values   = ["pipeline"]
    }
  }
}

resource "aws_iam_role" "pipeline" {
  count = local.pipeline_count

  name                 = "${local.iam_prefix}-pipeline"
  description          = "What the workflow of ${var.github_repository} may do."
  assume_role_policy   = data.aws_iam_policy_document.pipeline_trust[0].json
  max_session_duration = 3600
}

resource "aws_iam_role_policy" "pipeline" {
  count = local.pipeline_count

  name   = "${local.iam_prefix}-pipeline"
  role   = aws_iam_role.pipeline[0].id
  policy = data.aws_iam_policy_document.pipeline.json
}
