terraform {
  # The bucket comes from `-backend-config=bucket=…` (bootstrap's output state_bucket_name), the region from AWS_REGION.
  backend "s3" {
    key            = "host/terraform.tfstate"
    encrypt        = true
    use_lockfile   = true
    use_path_style = true
  }
}
