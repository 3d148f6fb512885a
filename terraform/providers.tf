# Region, credentials and endpoint come from the environment: AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL.
provider "aws" {
  s3_use_path_style = true

  default_tags {
    tags = {
      Project   = var.project
      ManagedBy = "terraform"
    }
  }
}
