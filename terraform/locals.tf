locals {
  # Tags of the hosts. With a load balancer, TLS ends there.
  edge_domain            = var.domain == null || var.load_balancer ? "" : var.domain
  database_url_parameter = var.database_url_parameter == null ? "" : var.database_url_parameter

  host_count         = var.parked ? 0 : var.instance_count
  data_volume_device = "/dev/sdf"
  backup_prefix      = "database/"
  web_ports          = { http = 80, https = 443 }
}
