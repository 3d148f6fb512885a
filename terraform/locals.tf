locals {
  # Tags of the hosts. With a load balancer, TLS ends there.
  edge_domain            = var.domain == null || var.load_balancer ? "" : var.domain
  database_url_parameter = var.database_url_parameter == null ? "" : var.database_url_parameter

  host_count    = var.parked ? 0 : var.instance_count
  backup_prefix = "database/"
  web_ports     = { http = 80, https = 443 }

  # A regular expression for the types that EC2 accepts, with at least 2048 bits.
  ssh_key = "^(ssh-ed25519 AAAAC3NzaC1lZDI1NTE5[A-Za-z0-9+/]{48}|ssh-rsa AAAAB3NzaC1yc2E[A-Za-z0-9+/]{357,}={0,2})( [^\\n]*)?$"
}
