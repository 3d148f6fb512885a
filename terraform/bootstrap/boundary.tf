# --- Permissions boundary of the hosts' role -------------------------------------------------------------------------

# Operators may write the role's policy. Without this boundary, they could make the role an administrator.
data "aws_iam_policy_document" "host_boundary" {
  #checkov:skip=CKV_AWS_356:ecr:GetAuthorizationToken takes no resource but *
  statement {
    sid       = "LogInToTheRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "PullTheApi"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [aws_ecr_repository.api.arn]
  }

  statement {
    sid       = "Backups"
    actions   = ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions", "s3:PutObject"]
    resources = [local.backup_bucket_arn, "${local.backup_bucket_arn}/*"]
  }

  statement {
    sid       = "Parameters"
    actions   = ["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"]
    resources = local.ssm_parameters_arns
  }
}

resource "aws_iam_policy" "host_boundary" {
  name        = "${local.iam_prefix}-host-boundary"
  description = "The most that the role of a host of ${var.project} can be given."
  policy      = data.aws_iam_policy_document.host_boundary.json
}
