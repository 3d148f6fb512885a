# Checks the created resources through the API.

variables {
  github_repository = "alice/comentarios"
}

# The provider waits 55 s for S3 to agree with itself on these rules: they are applied once (tests, full_cycle.py).
override_resource {
  target = module.state.aws_s3_bucket_lifecycle_configuration.this
}

run "everything" {
  assert {
    condition     = output.state_bucket_name == "comentarios-123456789012-us-east-1-state"
    error_message = "The state's bucket must be named after project, account and region."
  }

  assert {
    condition     = aws_ecr_repository.api.image_tag_mutability == "IMMUTABLE" && aws_ecr_repository.api.image_scanning_configuration[0].scan_on_push
    error_message = "Images must be immutable and scanned."
  }

  assert {
    condition = [for rule in jsondecode(aws_ecr_lifecycle_policy.api.policy).rules : [rule.selection.tagStatus, rule.selection.countNumber]] == [
      ["untagged", 1],
      ["any", 30],
    ]
    error_message = "Untagged images must go after a day, and 30 stay."
  }

  assert {
    condition     = aws_iam_openid_connect_provider.github[0].url == "token.actions.githubusercontent.com" && aws_iam_openid_connect_provider.github[0].client_id_list == toset(["sts.amazonaws.com"])
    error_message = "GitHub's OIDC provider is missing."
  }

  assert {
    condition     = output.pipeline_role_arn == "arn:aws:iam::123456789012:role/comentarios-pipeline"
    error_message = "The pipeline's role is missing."
  }
}

run "a_repository_whose_tokens_carry_numbers" {
  variables {
    github_repository_ids = { owner = 123456, repository = 456789 }
  }

  command = plan

  assert {
    condition     = jsondecode(aws_iam_role.pipeline[0].assume_role_policy).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"] == "repo:alice@123456/comentarios@456789:environment:production"
    error_message = "The role must trust the environment's subject with the numbers, and no other."
  }
}

run "a_named_environment" {
  variables {
    project            = "staging-comentarios"
    iam_prefix         = "staging-comentarios-us-east-1"
    github_environment = "staging"
  }

  command = plan

  assert {
    condition     = aws_iam_group.operators.name == "staging-comentarios-us-east-1-operators" && aws_iam_role.pipeline[0].name == "staging-comentarios-us-east-1-pipeline" && aws_ecr_repository.api.name == "staging-comentarios-api"
    error_message = "IAM has no regions: what a named environment has there must have its region in the name."
  }

  assert {
    condition     = jsondecode(aws_iam_role.pipeline[0].assume_role_policy).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"] == "repo:alice/comentarios:environment:staging"
    error_message = "Each environment's role must trust GitHub's environment of that name alone."
  }
}

run "an_account_that_knows_github_already" {
  variables {
    github_oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
  }

  command = plan

  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0 && length(aws_iam_role.pipeline) == 1
    error_message = "With a provider given, only the role must be made."
  }

  assert {
    condition     = strcontains(aws_iam_role.pipeline[0].assume_role_policy, var.github_oidc_provider_arn)
    error_message = "The role must trust the given provider."
  }
}

run "no_pipeline_without_a_repository" {
  variables {
    github_repository = null
  }

  command = plan

  assert {
    condition     = length(aws_iam_role.pipeline) == 0 && length(aws_iam_openid_connect_provider.github) == 0 && output.pipeline_role_arn == ""
    error_message = "Nobody asked for a pipeline."
  }
}
