# Every variable's bad values are refused by the variable itself: every variable that a run names must fail, or it does.

run "bad_values_1" {
  command = plan

  variables {
    project                  = "Comentarios"                                         # capitals
    image_count              = 1                                                     # nothing to go back to
    github_repository        = "comentarios"                                         # no owner
    instance_types           = ["t3.*"]                                              # every size there is
    github_oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/example.com" # not GitHub's
  }

  expect_failures = [
    var.project,
    var.image_count,
    var.instance_types,
    var.github_repository,
    var.github_oidc_provider_arn,
  ]
}

run "bad_values_2" {
  command = plan

  variables {
    project           = "comen_tarios" # S3 refuses underscores
    image_count       = 2.5            # not whole
    github_repository = "alice/*"      # a wildcard lets other repositories in
  }

  expect_failures = [
    var.project,
    var.image_count,
    var.github_repository,
  ]
}

run "bad_values_3" {
  command = plan

  variables {
    project            = "comentarios-of-somebody-else1"        # too long for the buckets' names
    image_count        = 1001                                   # more than a rule of ECR's counts
    github_repository  = "https://github.com/alice/comentarios" # a URL
    github_environment = "*"                                    # everybody's
  }

  expect_failures = [
    var.project,
    var.github_environment,
    var.image_count,
    var.github_repository,
  ]
}

run "numbers_that_are_none" {
  command = plan

  variables {
    github_repository     = "alice/comentarios"
    github_repository_ids = { owner = 0, repository = 456789 } # GitHub counts from 1
  }

  expect_failures = [
    var.github_repository_ids,
  ]
}

run "numbers_without_a_repository" {
  command = plan

  variables {
    github_repository_ids = { owner = 123456, repository = 456789 }
  }

  expect_failures = [
    var.github_repository_ids,
  ]
}

run "names_in_iam_of_somebody_else" {
  command = plan

  variables {
    iam_prefix = "others-eu-west-1"
  }

  expect_failures = [
    var.iam_prefix,
  ]
}
