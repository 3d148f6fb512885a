# Checks the resources of the defaults through the API, and what remains when it is parked.

variables {
  admin_cidrs    = ["203.0.113.7/32", "198.51.100.0/24"]
  ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJo5yBd1s1Hk1Gg5Nq1ZbFq1t4cP8v3m4w0m5n6p7q8R test"
  delete_data    = true # the run ends by destroying everything
}

# The provider waits 55 s for S3 to agree with itself on these rules: they are applied once (tests, full_cycle.py).
override_resource {
  target = module.backup.aws_s3_bucket_lifecycle_configuration.this
}

run "what_must_exist_first" {
  module {
    source = "./tests/setup"
  }
}

run "one_host" {
  assert {
    condition     = length(aws_instance.this) == 1 && aws_instance.this[0].instance_type == "t3.small"
    error_message = "The default is one t3.small."
  }

  assert {
    condition     = aws_instance.this[0].ami == data.aws_ami.debian.id && data.aws_ami.debian.owner_id == "136693071363"
    error_message = "The host is not Debian's own image."
  }

  assert {
    condition = (
      aws_instance.this[0].metadata_options[0].http_tokens == "required" &&
      aws_instance.this[0].metadata_options[0].http_put_response_hop_limit == 1
    )
    error_message = "The instance metadata must take IMDSv2 only, from the host itself only."
  }

  assert {
    condition     = aws_instance.this[0].root_block_device[0].encrypted && aws_instance.this[0].root_block_device[0].volume_type == "gp3"
    error_message = "The root volume must be gp3 and encrypted."
  }

  assert {
    condition     = !aws_instance.this[0].monitoring
    error_message = "Detailed monitoring costs and must be off."
  }

  assert {
    condition = (
      aws_ebs_volume.data[0].encrypted &&
      aws_ebs_volume.data[0].availability_zone == aws_instance.this[0].availability_zone
    )
    error_message = "The data volume must be encrypted and stand in the host's zone."
  }

  assert {
    condition = (
      aws_volume_attachment.data[0].device_name == "/dev/sdf" &&
      aws_volume_attachment.data[0].volume_id == aws_ebs_volume.data[0].id &&
      aws_volume_attachment.data[0].instance_id == aws_instance.this[0].id
    )
    error_message = "The data volume must be attached to the host as /dev/sdf."
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.web : "${rule.from_port}-${rule.to_port}/${rule.ip_protocol}"] == ["80-80/tcp", "443-443/tcp"]
    error_message = "Only ports 80 and 443 may be open to everybody."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.ssh : rule.cidr_ipv4]) == var.admin_cidrs
    error_message = "SSH must be open to the administrators' networks and to no other."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.ssh : rule.from_port == 22 && rule.to_port == 22])
    error_message = "The administrators' rules must open port 22 only."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_egress_rule.tcp : rule.from_port]) == var.egress_ports
    error_message = "Outwards must be open what egress_ports says."
  }

  assert {
    condition     = aws_instance.this[0].vpc_security_group_ids == toset([aws_security_group.host.id])
    error_message = "The host must be in its own security group, and not in the VPC's default one."
  }

  assert {
    condition     = alltrue([for subnet in aws_subnet.public : !subnet.map_public_ip_on_launch]) && length(distinct(aws_subnet.public[*].availability_zone)) == 2
    error_message = "The subnets must lie in two zones and give no public address by themselves."
  }

  assert {
    condition     = aws_iam_role.host.permissions_boundary == "arn:aws:iam::123456789012:policy/comentarios-host-boundary"
    error_message = "The host's role must have its boundary."
  }

  assert {
    condition = {
      for key, alarm in aws_cloudwatch_metric_alarm.host : key => one(alarm.alarm_actions)
      if try(length(alarm.alarm_actions), 0) > 0
      } == {
      "1-instance" = "arn:aws:automate:us-east-1:ec2:reboot"
      "1-system"   = "arn:aws:automate:us-east-1:ec2:recover"
    }
    error_message = "A failed system check must recover the instance, a failed instance check reboot it."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.host["1-credits"].metric_name == "CPUSurplusCreditsCharged" &&
      aws_cloudwatch_metric_alarm.host["1-credits"].dimensions["InstanceId"] == aws_instance.this[0].id
    )
    error_message = "A T3 goes on when its credits are used up, and an alarm must say that it is billed."
  }

  assert {
    condition     = alltrue([for key, value in { Project = "comentarios", Name = "comentarios-1", ssh_address = "public" } : aws_instance.this[0].tags_all[key] == value])
    error_message = "The inventory finds hosts by these tags."
  }

  assert {
    condition     = length(aws_lb.this) == 0
    error_message = "The load balancer must be off by default."
  }

  assert {
    condition = (
      output.instance_addresses == [aws_eip.this[0].public_ip] && aws_instance.this[0].tags_all["ssh_address"] == "public" &&
      output.site_url == "http://${aws_eip.this[0].public_ip}" && aws_instance.this[0].tags_all["edge_domain"] == "" && aws_instance.this[0].tags_all["database_url_parameter"] == ""
    )
    error_message = "The outputs do not say where the host is."
  }
}

run "another_operators_key" {
  command = plan

  variables {
    ssh_public_key  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJo5yBd1s1Hk1Gg5Nq1ZbFq1t4cP8v3m4w0m5n6p7q9R another"
    ssh_public_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJo5yBd1s1Hk1Gg5Nq1ZbFq1t4cP8v3m4w0m5n6p7q9R another"]
  }

  assert {
    condition     = aws_instance.this[*].id == run.one_host.instance_ids && endswith(aws_key_pair.this.public_key, " test")
    error_message = "Another operator's key must replace neither the host nor the first operator's key."
  }
}

run "a_named_environment" {
  command = plan

  variables {
    project    = "staging-comentarios"
    iam_prefix = "staging-comentarios-us-east-1"
  }

  override_data {
    target = data.aws_ecr_repository.api
  }

  assert {
    condition     = aws_iam_role.host.name == "staging-comentarios-us-east-1-host" && aws_iam_instance_profile.host.name == aws_iam_role.host.name && strcontains(aws_iam_role.host.permissions_boundary, ":policy/staging-comentarios-us-east-1-host-boundary")
    error_message = "IAM has no regions: what a named environment has there must have its region in the name."
  }

  assert {
    condition     = aws_instance.this[0].tags["Name"] == "staging-comentarios-1" && aws_key_pair.this.key_name == "staging-comentarios"
    error_message = "The verbs and the inventory find an environment's hosts by these names."
  }
}

run "credits_that_cost_nothing" {
  command = plan

  variables {
    cpu_credits     = "standard"
    alarm_topic_arn = "arn:aws:sns:us-east-1:123456789012:comentarios-alarms"
  }

  assert {
    condition     = keys(aws_cloudwatch_metric_alarm.host) == ["1-instance", "1-system"] && aws_instance.this[0].credit_specification[0].cpu_credits == "standard"
    error_message = "With standard credits nothing is billed: there is nothing to be told of."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.host : contains(alarm.alarm_actions, var.alarm_topic_arn)])
    error_message = "Every alarm must go to the topic as well."
  }
}

run "parked" {
  variables {
    parked = true
  }

  assert {
    condition     = output.instance_ids == [] && length(aws_eip.this) == 0 && length(aws_cloudwatch_metric_alarm.host) == 0 && output.site_url == ""
    error_message = "Parked, nothing may be left that is paid by the hour."
  }

  assert {
    condition     = output.data_volume_ids == run.one_host.data_volume_ids && output.backup_bucket_name == run.one_host.backup_bucket_name
    error_message = "Parked, the data volume and the backups must stay."
  }
}
