terraform {
  # Since 1.10, the S3 backend supports lock files (use_lockfile).
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }

  # On the first run, the bucket does not exist yet: see "The first run" in ../README.md.
  backend "s3" {
    key            = "bootstrap/terraform.tfstate"
    encrypt        = true
    use_lockfile   = true
    use_path_style = true
  }
}
