# bootstrap/ has links to this file, versions.tf and providers.tf.
variable "project" {
  description = "Prefix of every name, and value of the tag Project: the project and its environment. The verbs set it."
  type        = string
  default     = "comentarios"
  nullable    = false

  # The name of a bucket has this, the account, the region and a suffix, and at most 63 characters.
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,26}[a-z0-9]$", var.project)) && !can(regex("^(xn--|sthree-|amzn-s3-demo-|aws|ssm|sg-|internal-)|--", var.project))
    error_message = "project must be 3 to 28 lower-case letters, digits and single hyphens, starting with a letter and not with a prefix that AWS reserves (aws, ssm, sg-, internal-)."
  }
}

variable "iam_prefix" {
  description = "Prefix of the names in IAM. IAM has no regions, so for a named environment the verbs add the region. null: the same as project."
  type        = string
  default     = null

  validation {
    condition     = var.iam_prefix == null || try(startswith(var.iam_prefix, var.project), false) && can(regex("^[a-z][a-z0-9-]{1,43}$", var.iam_prefix))
    error_message = "iam_prefix must start with project and have at most 44 lower-case letters, digits and hyphens."
  }
}

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

data "aws_region" "this" {}

locals {
  account_id = data.aws_caller_identity.this.account_id
  partition  = data.aws_partition.this.partition
  region     = data.aws_region.this.name
  iam_prefix = coalesce(var.iam_prefix, var.project)
  # GetParametersByPath needs access to the path itself.
  ssm_parameters_arns = [for end in ["", "/*"] : "arn:${local.partition}:ssm:${local.region}:${local.account_id}:parameter/${var.project}${end}"]
}
