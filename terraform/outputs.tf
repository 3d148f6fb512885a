output "instance_ids" {
  description = "Instance ids of the hosts."
  value       = aws_instance.this[*].id
}

output "instance_addresses" {
  description = "Public addresses of the hosts."
  value       = aws_eip.this[*].public_ip
}

output "data_volume_ids" {
  description = "Ids of the data volumes, in the order of the hosts."
  value       = aws_ebs_volume.data[*].id
}

output "backup_bucket_name" {
  description = "Bucket of the backups."
  value       = module.backup.name
}

output "site_url" {
  description = "URL of the site; empty while it is parked."
  value = (
    var.parked ? "" :
    var.domain != null ? "https://${var.domain}" :
    "http://${aws_eip.this[0].public_ip}"
  )
}

output "site_target" {
  description = "Value of the domain's DNS record: a CNAME to the load balancer, or an A record with the hosts' addresses."
  value       = var.load_balancer ? aws_lb.this[*].dns_name : aws_eip.this[*].public_ip
}
