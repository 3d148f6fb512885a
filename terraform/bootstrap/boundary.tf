# --- Permissions boundary of the hosts' role -------------------------------------------------------------------------

# Operators may write the role's policy. Without this boundary, they could make the role an administrator.
resource "aws_iam_policy" "host_boundary" {
  name        = "${local.iam_prefix}-host-boundary"
  description = "The most that the role of a host of ${var.project} can be given."
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "LogInToTheRegistry"
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken"
        Resource = "*"
      },
      {
        Sid      = "PullTheApi"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = aws_ecr_repository.api.arn
      },
      {
        Sid      = "Backups"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions", "s3:PutObject"]
        Resource = [local.backup_bucket_arn, "${local.backup_bucket_arn}/*"]
      },
      {
        Sid      = "Parameters"
        Effect   = "Allow"
        Action   = ["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"]
        Resource = local.ssm_parameters_arns
      },
    ]
  })
}
