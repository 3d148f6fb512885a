# --- Terraform's state -----------------------------------------------------------------------------------------------

module "state" {
  source = "../modules/private_bucket"

  name            = "${var.project}-${local.account_id}-${local.region}-state"
  noncurrent_days = 90
  delete_contents = var.delete_contents
}

# --- The API's images ------------------------------------------------------------------------------------------------

resource "aws_ecr_repository" "api" {
  #checkov:skip=CKV_AWS_136:AWS's own key encrypts it; a key of ours costs by the month, and the code is public
  name                 = "${var.project}-api"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = var.delete_contents

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "AES256"
  }
}

resource "aws_ecr_lifecycle_policy" "api" {
  repository = aws_ecr_repository.api.name

  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "Untagged images go after a day"
        selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 1 }
        action       = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "The newest ${var.image_count} stay"
        selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = var.image_count }
        action       = { type = "expire" }
      },
    ]
  })
}
