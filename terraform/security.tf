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

  tags = { Name = each.key }
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  for_each = var.admin_cidrs

  security_group_id = aws_security_group.host.id
  description       = "SSH from an administrators' network"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22

  tags = { Name = "ssh" }
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

  tags = { Name = "tcp-${each.value}" }
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

data "aws_iam_policy_document" "host_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "host" {
  #checkov:skip=CKV_AWS_356:ecr:GetAuthorizationToken takes no resource but *
  # Logging in to ECR cannot be limited to a repository: AWS has no resource for it.
  statement {
    sid       = "LogInToTheRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid = "PullTheApi"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:GetDownloadUrlForLayer",
    ]
    resources = [data.aws_ecr_repository.api.arn]
  }

  # No deleting, and no overwriting (below): a compromised host cannot destroy backups.
  statement {
    sid       = "ReadBackups"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${module.backup.arn}/${local.backup_prefix}*"]
  }

  # Only with the header `If-None-Match: *`, so S3 refuses existing keys. Multipart uploads and copies lack the header and
  # are refused, too.
  statement {
    sid       = "WriteNewBackupsAndLogs"
    actions   = ["s3:PutObject"]
    resources = ["${module.backup.arn}/${local.backup_prefix}*", "${module.backup.arn}/logs/*"]

    condition {
      test     = "StringEquals"
      variable = "s3:if-none-match"
      values   = ["*"]
    }
  }

  statement {
    sid       = "FindBackups"
    actions   = ["s3:ListBucket", "s3:ListBucketVersions"]
    resources = [module.backup.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${local.backup_prefix}*"]
    }
  }

  statement {
    sid     = "ReadItsParameters"
    actions = ["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"]
    # GetParametersByPath needs access to the path itself.
    resources = [for end in ["", "/*"] : "arn:${local.partition}:ssm:${local.region}:${local.account_id}:parameter/${var.project}${end}"]
  }
}

resource "aws_iam_role" "host" {
  name               = "${local.iam_prefix}-host"
  description        = "What the hosts of ${var.project} may do."
  assume_role_policy = data.aws_iam_policy_document.host_trust.json

  # From bootstrap. Operators may create this role only with it.
  permissions_boundary = "arn:${local.partition}:iam::${local.account_id}:policy/${local.iam_prefix}-host-boundary"
}

resource "aws_iam_role_policy" "host" {
  name   = "${local.iam_prefix}-host"
  role   = aws_iam_role.host.id
  policy = data.aws_iam_policy_document.host.json
}

resource "aws_iam_instance_profile" "host" {
  name = "${local.iam_prefix}-host"
  role = aws_iam_role.host.name
}
