output "state_bucket_name" {
  description = "Bucket of Terraform's states, for `-backend-config=bucket=…` in both folders."
  value       = module.state.name
}

output "pipeline_role_arn" {
  description = "Role that GitHub's workflow assumes; empty without github_repository."
  value       = try(aws_iam_role.pipeline[0].arn, "")
}
