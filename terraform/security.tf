# --- Ports -----------------------------------------------------------------------------------------------------------

locals {
  egress_ports = setunion(var.egress_ports, var.database_url_parameter == null ? [] : [5432])
}

resource "aws_security_group" "host" {
  name        = "${var.project}-host"
  description = "HTTP and HTTPS from everywhere, SSH from the administrators' networks."
  vpc_id      = aws_vpc.this.id

  # The pipeline's role may change the rules of groups with this tag only.
  tags = {
    Name      = "${var.project}-host"
    SshAccess = "pipeline"
  }
}

resource "aws_vpc_security_group_ingress_rule" "web" {
  #checkov:skip=CKV_AWS_260:the site is public; with a domain, port 80 redirects to HTTPS
  for_each = var.load_balancer ? {} : local.web_ports

  security_group_id = aws_security_group.host.id
  description       = "${each.key} from everywhere"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  for_each = var.admin_cidrs

  security_group_id = aws_security_group.host.id
  description       = "SSH from an administrators' network"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
}

# Security groups do not apply to AWS's DNS, time and metadata services.
resource "aws_vpc_security_group_egress_rule" "tcp" {
  for_each = toset([for port in local.egress_ports : tostring(port)])

  security_group_id = aws_security_group.host.id
  description       = "TCP ${each.value} outwards"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = tonumber(each.value)
  to_port           = tonumber(each.value)
}

resource "aws_key_pair" "this" {
  key_name   = var.project
  public_key = trimspace(var.ssh_public_key)

  lifecycle {
    # Used at a host's first boot only, so another operator's key must not replace it: see user_data.
    ignore_changes = [public_key]
  }
}

# --- The hosts' role -------------------------------------------------------------------------------------------------

data "aws_ecr_repository" "api" {
  name = "${var.project}-api"
}

resource "aws_iam_role" "host" {
  name        = "${local.iam_prefix}-host"
  description = "What the hosts of ${var.project} may do."
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = "sts:AssumeRole"
        Principal = { Service = "ec2.amazonaws.com" }
      },
    ]
  })

  # From bootstrap. Operators may create this role only with it.
  permissions_boundary = "arn:${local.partition}:iam::${local.account_id}:policy/${local.iam_prefix}-host-boundary"
}

resource "aws_iam_role_policy" "host" {
  name = "${local.iam_prefix}-host"
  role = aws_iam_role.host.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      # Logging in to ECR cannot be limited to a repository: AWS has no resource for it.
      {
        Sid      = "LogInToTheRegistry"
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken"
        Resource = "*"
      },
      {
        Sid    = "PullTheApi"
        Effect = "Allow"
        Action = [
          "ecr:BatchCheckLayerAvailability",
          "ecr:BatchGetImage",
          "ecr:GetDownloadUrlForLayer",
        ]
        Resource = data.aws_ecr_repository.api.arn
      },
      # No deleting, and no overwriting (below): a compromised host cannot destroy backups.
      {
        Sid      = "ReadBackups"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource = "${module.backup.arn}/${local.backup_prefix}*"
      },
      # Only with the header `If-None-Match: *`, so S3 refuses existing keys. Multipart uploads and copies lack the header and
      # are refused, too.
      {
        Sid       = "WriteNewBackupsAndLogs"
        Effect    = "Allow"
        Action    = "s3:PutObject"
        Resource  = ["${module.backup.arn}/${local.backup_prefix}*", "${module.backup.arn}/logs/*"]
        Condition = { StringEquals = { "s3:if-none-match" = "*" } }
      },
      {
        Sid       = "FindBackups"
        Effect    = "Allow"
        Action    = ["s3:ListBucket", "s3:ListBucketVersions"]
        Resource  = module.backup.arn
        Condition = { StringLike = { "s3:prefix" = "${local.backup_prefix}*" } }
      },
      {
        Sid      = "ReadItsParameters"
        Effect   = "Allow"
        Action   = ["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"]
        Resource = local.ssm_parameters_arns
      },
    ]
  })
}

resource "aws_iam_instance_profile" "host" {
  name = "${local.iam_prefix}-host"
  role = aws_iam_role.host.name
}
