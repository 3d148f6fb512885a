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

resource "aws_iam_role" "pipeline" {
  count = local.pipeline_count

  name        = "${local.iam_prefix}-pipeline"
  description = "What the workflow of ${var.github_repository} may do."
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = "sts:AssumeRoleWithWebIdentity"
        Principal = { Federated = local.github_oidc_provider_arn }
        # The environment's subject: the environment has reviewers and a branch. A branch's subject would bypass them.
        Condition = {
          StringEquals = {
            "${local.github_issuer}:aud" = "sts.amazonaws.com"
            "${local.github_issuer}:sub" = "repo:${local.github_subject}:environment:${var.github_environment}"
          }
        }
      },
    ]
  })
  max_session_duration = 3600
}

resource "aws_iam_role_policy" "pipeline" {
  count = local.pipeline_count

  name = "${local.iam_prefix}-pipeline"
  role = aws_iam_role.pipeline[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      # AWS has no resource for logging in to ECR.
      {
        Sid      = "LogInToTheRegistry"
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken"
        Resource = "*"
      },
      {
        Sid    = "PushTheApi"
        Effect = "Allow"
        Action = [
          "ecr:BatchCheckLayerAvailability",
          "ecr:BatchGetImage",
          "ecr:CompleteLayerUpload",
          "ecr:DescribeImages",
          "ecr:DescribeRepositories",
          "ecr:InitiateLayerUpload",
          "ecr:PutImage",
          "ecr:UploadLayerPart",
        ]
        Resource = aws_ecr_repository.api.arn
      },
      {
        Sid      = "FindTheHosts"
        Effect   = "Allow"
        Action   = ["ec2:DescribeInstances", "ec2:DescribeSecurityGroups"]
        Resource = "*"
      },
      {
        Sid      = "OpenAndCloseSsh"
        Effect   = "Allow"
        Action   = ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"]
        Resource = "arn:${local.partition}:ec2:${local.region}:${local.account_id}:security-group/*"
        Condition = {
          StringEquals = {
            "aws:ResourceTag/Project"   = var.project
            "aws:ResourceTag/SshAccess" = "pipeline"
          }
        }
      },
    ]
  })
}
