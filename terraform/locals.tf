data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

data "aws_region" "this" {}

locals {
  account_id = data.aws_caller_identity.this.account_id
  partition  = data.aws_partition.this.partition
  region     = data.aws_region.this.name
  iam_prefix = coalesce(var.iam_prefix, var.project)

  # Tags of the hosts. With a load balancer, TLS ends there.
  edge_domain            = var.domain == null || var.load_balancer ? "" : var.domain
  database_url_parameter = var.database_url_parameter == null ? "" : var.database_url_parameter

  host_count         = var.parked ? 0 : var.instance_count
  data_volume_device = "/dev/sdf"
  backup_prefix      = "database/"
  web_ports          = { http = 80, https = 443 }
}
