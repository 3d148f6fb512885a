variable "project" {
  description = "Name of the project and its environment: the prefix of every name and the value of the tag Project. The verbs give it."
  type        = string
  default     = "comentarios"
  nullable    = false

  # Bucket names are this, the account, the region and a suffix, together at most 63 characters.
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,26}[a-z0-9]$", var.project)) && !can(regex("^(xn--|sthree-|amzn-s3-demo-|aws|ssm|sg-|internal-)|--", var.project))
    error_message = "project must be 3 to 28 lower-case letters, digits and single hyphens, beginning with a letter and with nothing that AWS keeps for itself (aws, ssm, sg-, internal-): AWS refuses other names."
  }
}

variable "iam_prefix" {
  description = "Prefix of the names in IAM, which has no regions: the verbs give a named environment's region in it. null is the project."
  type        = string
  default     = null

  validation {
    condition     = var.iam_prefix == null || try(startswith(var.iam_prefix, var.project), false) && can(regex("^[a-z][a-z0-9-]{1,43}$", var.iam_prefix))
    error_message = "iam_prefix must begin with project, and be at most 44 lower-case letters, digits and hyphens."
  }
}

variable "image_count" {
  description = "How many tagged images the ECR repository keeps; older ones expire."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.image_count >= 2 && var.image_count <= 1000 && floor(var.image_count) == var.image_count
    error_message = "image_count must be a whole number from 2 (the live release and the one to go back to) to 1000."
  }
}

variable "instance_types" {
  description = "EC2 instance types that operators may run."
  type        = set(string)
  default     = ["t3.micro", "t3.small", "t3.medium", "t3.large"]
  nullable    = false

  # IAM would read a wildcard as a letter, or let everything in.
  validation {
    condition     = length(var.instance_types) > 0 && alltrue([for type in var.instance_types : can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", type))])
    error_message = "instance_types must hold types of EC2's such as t3.small, written out."
  }
}

variable "github_repository" {
  description = "`owner/name` of the GitHub repository whose workflow releases. null makes no pipeline role."
  type        = string
  default     = null

  # No wildcard may get in: it would let somebody else's repository assume the role.
  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}$", var.github_repository))
    error_message = "github_repository must be owner/name as GitHub writes it, such as alice/comentarios."
  }
}

variable "github_repository_ids" {
  description = "Numbers of the repository's owner and of the repository, as GitHub's tokens name them since 15 July 2026: `{ owner = 123456, repository = 456789 }`. null for a repository from before that date that was not renamed, transferred or opted in."
  type        = object({ owner = number, repository = number })
  default     = null

  validation {
    condition     = var.github_repository_ids == null || var.github_repository != null
    error_message = "github_repository_ids needs github_repository: the tokens name both."
  }

  validation {
    condition = var.github_repository_ids == null || alltrue([
      for id in values(coalesce(var.github_repository_ids, { owner = 1, repository = 1 })) :
      try(id >= 1 && floor(id) == id, false)
    ])
    error_message = "github_repository_ids must be two whole numbers: `curl -s https://api.github.com/repos/<owner>/<name>` shows them as owner.id and id."
  }
}

variable "github_environment" {
  description = "GitHub's environment whose jobs may release. The verbs give the environment's own name."
  type        = string
  default     = "production"
  nullable    = false

  # As above: no wildcard.
  validation {
    condition     = can(regex("^[A-Za-z0-9._-]{1,100}$", var.github_environment))
    error_message = "github_environment must be the name of one environment of the repository, such as production."
  }
}

variable "github_oidc_provider_arn" {
  description = "ARN of GitHub's OIDC provider where the account has one already: an account takes only one. null makes it."
  type        = string
  default     = null

  validation {
    condition = (
      var.github_oidc_provider_arn == null ||
      can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider/token\\.actions\\.githubusercontent\\.com$", var.github_oidc_provider_arn))
    )
    error_message = "github_oidc_provider_arn must be arn:aws:iam::<account>:oidc-provider/token.actions.githubusercontent.com."
  }
}

variable "delete_contents" {
  description = "Whether destroying deletes the states and the images too. false refuses while there are any."
  type        = bool
  default     = false
  nullable    = false
}
