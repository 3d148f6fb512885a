terraform {
  # Since 1.10, the S3 backend supports lock files (use_lockfile).
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }

  # The bucket comes from `-backend-config=bucket=…` (bootstrap's output state_bucket_name), the region from AWS_REGION.
  backend "s3" {
    key            = "host/terraform.tfstate"
    encrypt        = true
    use_lockfile   = true
    use_path_style = true
  }
}
