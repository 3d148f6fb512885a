output "instance_ids" {
  description = "EC2 ids of the hosts."
  value       = aws_instance.this[*].id
}

output "instance_addresses" {
  description = "Public addresses of the hosts."
  value       = aws_eip.this[*].public_ip
}

output "instance_private_addresses" {
  description = "Addresses of the hosts inside the VPC."
  value       = aws_instance.this[*].private_ip
}

output "ssh_user" {
  description = "User to log in as."
  value       = local.ssh_user
}

output "ecr_repository_url" {
  description = "Where the API's image is pushed to and pulled from."
  value       = data.aws_ecr_repository.api.repository_url
}

output "instance_ssh_addresses" {
  description = "Addresses that SSH goes to, as `ssh_address` says."
  value       = var.ssh_address == "private" ? aws_instance.this[*].private_ip : aws_eip.this[*].public_ip
}

output "security_group_id" {
  description = "Security group of the hosts: the pipeline opens and closes its SSH access here."
  value       = aws_security_group.host.id
}

output "data_volume_ids" {
  description = "Ids of the data volumes, in the hosts' order."
  value       = aws_ebs_volume.data[*].id
}

output "data_volume_device" {
  description = "Name under which the data volume is attached."
  value       = local.data_volume_device
}

output "backup_bucket_name" {
  description = "Bucket of the backups."
  value       = module.backup.name
}

output "backup_bucket_prefix" {
  description = "Prefix that the hosts may write to in that bucket."
  value       = local.backup_prefix
}

output "database_url_parameter" {
  description = "SSM parameter that holds DATABASE_URL; empty for SQLite on the data volume."
  value       = local.database_url_parameter
}

output "edge_domain" {
  description = "Domain that the hosts' edge gets its certificate for; empty for plain HTTP or behind a load balancer."
  value       = local.edge_domain
}

output "site_url" {
  description = "Where the site answers; empty while it is parked."
  value = (
    var.parked ? "" :
    var.domain != null ? "https://${var.domain}" :
    "http://${aws_eip.this[0].public_ip}"
  )
}

output "site_target" {
  description = "What the domain's DNS record must point to: CNAME of the load balancer, or A of the hosts."
  value       = var.load_balancer ? aws_lb.this[*].dns_name : aws_eip.this[*].public_ip
}
