terraform {
  # 1.10 is the first release whose S3 backend locks with a file of its own (use_lockfile).
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }

  # The bucket is named by `-backend-config=bucket=…` (bootstrap's output state_bucket_name), the region by AWS_REGION.
  backend "s3" {
    key            = "host/terraform.tfstate"
    encrypt        = true
    use_lockfile   = true
    use_path_style = true
  }
}
