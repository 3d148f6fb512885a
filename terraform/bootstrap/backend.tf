terraform {
  # On the first run, the bucket does not exist yet: see "The first run" in ../README.md.
  backend "s3" {
    key            = "bootstrap/terraform.tfstate"
    encrypt        = true
    use_lockfile   = true
    use_path_style = true
  }
}
