variable "image_count" {
  description = "Number of tagged images that the ECR repository keeps. Older ones expire."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.image_count >= 2 && var.image_count <= 1000 && floor(var.image_count) == var.image_count
    error_message = "image_count must be a whole number from 2 (the live release and the one before it) to 1000."
  }
}

variable "instance_types" {
  description = "EC2 instance types that operators may run."
  type        = set(string)
  default     = ["t3.micro", "t3.small", "t3.medium", "t3.large"]
  nullable    = false

  # With a wildcard, IAM would match nothing or everything.
  validation {
    condition     = length(var.instance_types) > 0 && alltrue([for type in var.instance_types : can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", type))])
    error_message = "instance_types must contain full names of EC2 instance types such as t3.small."
  }
}

variable "github_repository" {
  description = "GitHub repository whose workflow releases, as `owner/name`. null: no role for the pipeline."
  type        = string
  default     = null

  # No wildcard: it would allow other repositories to assume the role.
  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}$", var.github_repository))
    error_message = "github_repository must be owner/name, as in GitHub's URL, such as alice/comentarios."
  }
}

variable "github_repository_ids" {
  description = "Numeric ids of the repository's owner and of the repository, which GitHub's tokens contain since 15 July 2026: `{ owner = 123456, repository = 456789 }`. null: for an older repository that was not renamed, transferred or opted in."
  type        = object({ owner = number, repository = number })
  default     = null

  validation {
    condition     = var.github_repository_ids == null || var.github_repository != null
    error_message = "github_repository_ids needs github_repository: the tokens contain both."
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
  description = "GitHub environment whose jobs may release. The verbs set it to the environment's name."
  type        = string
  default     = "production"
  nullable    = false

  # No wildcard, as above.
  validation {
    condition     = can(regex("^[A-Za-z0-9._-]{1,100}$", var.github_environment))
    error_message = "github_environment must be the name of one GitHub environment, such as production."
  }
}

variable "github_oidc_provider_arn" {
  description = "ARN of GitHub's OIDC provider if the account already has one: an account can have only one. null: it is created."
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
  description = "Whether `terraform destroy` may delete the states and the images. With false, it fails while there are any."
  type        = bool
  default     = false
  nullable    = false
}
