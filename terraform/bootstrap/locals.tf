locals {
  # What the other folder creates.
  host_role_arn     = "arn:${local.partition}:iam::${local.account_id}:role/${local.iam_prefix}-host"
  host_profile_arn  = "arn:${local.partition}:iam::${local.account_id}:instance-profile/${local.iam_prefix}-host"
  ec2               = "arn:${local.partition}:ec2:${local.region}:${local.account_id}"
  backup_bucket_arn = "arn:${local.partition}:s3:::${var.project}-${local.account_id}-${local.region}-backup"

  # For the policies: the caller's own user, and conditions that several statements have.
  own_user = "arn:${local.partition}:iam::${local.account_id}:user/$${aws:username}"
  with_mfa = { Bool = { "aws:MultiFactorAuthPresent" = "true" } }
  ours     = { StringEquals = { "aws:ResourceTag/Project" = var.project } }
}
