# Two hosts that share a database behind a load balancer, and what stays when one of them is replaced.

variables {
  admin_cidrs    = ["203.0.113.7/32", "198.51.100.0/24"]
  ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJo5yBd1s1Hk1Gg5Nq1ZbFq1t4cP8v3m4w0m5n6p7q8R test"
  delete_data    = true # the run ends by destroying everything

  instance_count         = 2
  database_url_parameter = "/comentarios/database_url"
  domain                 = "comments.example.com"
  load_balancer          = true
  ssh_address            = "private"
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

run "two_hosts" {
  variables {
    certificate_arn = run.what_must_exist_first.certificate_arn
  }

  assert {
    condition     = aws_instance.this[0].availability_zone != aws_instance.this[1].availability_zone
    error_message = "Two hosts must stand in two zones."
  }

  assert {
    condition     = toset(aws_lb_target_group_attachment.this[*].target_id) == toset(output.instance_ids)
    error_message = "Every host must be a target of the load balancer."
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.web) == 0 && aws_vpc_security_group_ingress_rule.from_load_balancer[0].referenced_security_group_id == aws_security_group.load_balancer[0].id
    error_message = "Behind a load balancer the hosts must take HTTP from it alone."
  }

  assert {
    condition     = aws_lb_listener.http[0].default_action[0].type == "redirect" && aws_lb_listener.https[0].ssl_policy == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    error_message = "The load balancer must serve HTTPS of TLS 1.2 or later, and send HTTP there."
  }

  assert {
    condition     = contains(keys(aws_vpc_security_group_egress_rule.tcp), "5432")
    error_message = "The hosts must reach PostgreSQL."
  }

  assert {
    condition     = aws_instance.this[0].tags_all["ssh_address"] == "private" && aws_instance.this[1].tags_all["ssh_address"] == "private"
    error_message = "With ssh_address = private, SSH must go to the private addresses."
  }

  assert {
    condition     = aws_instance.this[0].tags_all["database_url_parameter"] == "/comentarios/database_url" && aws_instance.this[0].tags_all["edge_domain"] == ""
    error_message = "The hosts must be told where the database's URL is, and no domain: TLS ends at the load balancer."
  }

  assert {
    condition     = aws_instance.this[0].tags_all["trusted_proxies"] == var.vpc_cidr
    error_message = "The edge must take the load balancer's word for who the client is."
  }

  assert {
    condition     = output.site_url == "https://comments.example.com" && aws_instance.this[0].tags_all["edge_domain"] == "" && output.site_target[0] == aws_lb.this[0].dns_name
    error_message = "TLS must end at the load balancer."
  }
}

run "a_replaced_host" {
  plan_options {
    replace = [aws_instance.this[0]]
  }

  variables {
    certificate_arn = run.what_must_exist_first.certificate_arn
  }

  assert {
    condition     = aws_instance.this[0].id != run.two_hosts.instance_ids[0]
    error_message = "The first host was not replaced: what follows proves nothing."
  }

  assert {
    condition     = output.data_volume_ids[0] == run.two_hosts.data_volume_ids[0] && aws_volume_attachment.data[0].instance_id == aws_instance.this[0].id
    error_message = "A replaced host must have its data volume back."
  }

  assert {
    condition     = output.instance_addresses[0] == run.two_hosts.instance_addresses[0]
    error_message = "A replaced host must have its address back."
  }

  assert {
    condition     = aws_instance.this[1].id == run.two_hosts.instance_ids[1]
    error_message = "The other host must not notice."
  }
}
