# What must exist before the host: bootstrap makes the repository, people bring the load balancer's certificate.
variable "project" {
  description = "Prefix of the names."
  type        = string
  default     = "comentarios"
}

resource "aws_ecr_repository" "api" {
  #checkov:skip=CKV_AWS_136:made by a test, for the length of a test
  name                 = "${var.project}-api"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = true

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_acm_certificate" "site" {
  domain_name       = "comments.example.com"
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

output "certificate_arn" {
  description = "ARN of a certificate for comments.example.com."
  value       = aws_acm_certificate.site.arn
}
