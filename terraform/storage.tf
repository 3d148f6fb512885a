module "backup" {
  source = "./modules/private_bucket"

  name            = "${var.project}-${local.account_id}-${local.region}-backup"
  noncurrent_days = 2
  delete_contents = var.delete_data

  # While parked, no new backups are made, so none expire.
  expiration_days = var.parked ? {} : {
    # Each day's first backup, named by role backup.
    "${local.backup_prefix}daily-" = var.backup_retention_days
    # The names of the others start with the year.
    "${local.backup_prefix}2" = 2
    # The hosts' logs, which have the addresses of some clients.
    "logs/" = 14
  }
}

# The database of the comments has its own volume, which outlives the instance.
resource "aws_ebs_volume" "data" {
  #checkov:skip=CKV_AWS_189:AWS's own key encrypts it; a key of ours costs by the month and protects nothing more here
  #checkov:skip=CKV2_AWS_9:the host backs up the database to S3, and tests restore it
  count = var.instance_count

  availability_zone = aws_subnet.public[count.index % 2].availability_zone
  type              = "gp3"
  size              = var.data_volume_size
  encrypted         = true

  tags = { Name = "${var.project}-${count.index + 1}-data" }

  lifecycle {
    # A volume cannot move: a new zone would mean a new, empty one.
    ignore_changes = [availability_zone]
  }
}

resource "aws_volume_attachment" "data" {
  count = local.host_count

  device_name = "/dev/sdf"
  volume_id   = aws_ebs_volume.data[count.index].id
  instance_id = aws_instance.this[count.index].id

  # Detaching it while the database writes would lose the last writes.
  stop_instance_before_detaching = true
}

# `terraform destroy` starts here, and fails unless the data may be deleted.
resource "terraform_data" "keep_data" {
  input = var.delete_data

  provisioner "local-exec" {
    when    = destroy
    command = self.output ? "true" : "echo 'This would delete the comments and their backups. To stop paying and keep them: terraform apply -var parked=true. To delete them: terraform apply -var delete_data=true, then terraform destroy.' >&2; exit 1"
  }

  # Everything that nothing else depends on, so that nothing is destroyed before this check.
  depends_on = [
    module.backup,
    aws_cloudwatch_metric_alarm.host,
    aws_eip.this,
    aws_lb_listener.http,
    aws_lb_listener.https,
    aws_lb_target_group_attachment.this,
    aws_route_table_association.public,
    aws_volume_attachment.data,
    aws_ebs_volume.data,
    aws_vpc_security_group_egress_rule.load_balancer,
    aws_vpc_security_group_egress_rule.tcp,
    aws_vpc_security_group_ingress_rule.from_load_balancer,
    aws_vpc_security_group_ingress_rule.load_balancer,
    aws_vpc_security_group_ingress_rule.ssh,
    aws_vpc_security_group_ingress_rule.web,
  ]
}
