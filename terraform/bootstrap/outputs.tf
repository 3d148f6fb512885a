output "state_bucket_name" {
  description = "Bucket of Terraform's states: `-backend-config=bucket=…` of both folders."
  value       = module.state.name
}

output "ecr_repository_url" {
  description = "Where the API's image is pushed to and pulled from."
  value       = aws_ecr_repository.api.repository_url
}

output "ecr_repository_name" {
  description = "Name of the API's repository in ECR."
  value       = aws_ecr_repository.api.name
}

output "operators_group_name" {
  description = "IAM group whose members may run this project, with MFA."
  value       = aws_iam_group.operators.name
}

output "pipeline_role_arn" {
  description = "Role that GitHub's workflow assumes; empty without github_repository."
  value       = one(aws_iam_role.pipeline[*].arn) == null ? "" : one(aws_iam_role.pipeline[*].arn)
}
