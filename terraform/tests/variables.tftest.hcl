# Every variable's bad values are refused by the variable itself. Each run holds one bad value of each variable that has
# one left: every variable that it names must fail, or the run does. A variable that looks at another that is bad is not
# judged: these have runs of their own.

variables {
  admin_cidrs    = ["203.0.113.7/32"]
  ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJo5yBd1s1Hk1Gg5Nq1ZbFq1t4cP8v3m4w0m5n6p7q8R test"
}

run "what_must_exist_first" {
  module {
    source = "./tests/setup"
  }
}

run "bad_values_1" {
  command = plan

  variables {
    project               = "Comentarios"                                       # capitals
    vpc_cidr              = "10.83.0.0"                                         # no length
    admin_cidrs           = ["0.0.0.0/0"]                                       # SSH for the world
    ssh_public_key        = "-----BEGIN OPENSSH PRIVATE KEY-----"               # the private half
    ssh_address           = "ipv6"                                              # neither public nor private
    instance_type         = "micro"                                             # no family
    cpu_credits           = "none"                                              # neither unlimited nor standard
    root_volume_size      = 4                                                   # too small for Debian and the images
    data_volume_size      = 0                                                   # none
    backup_retention_days = 0                                                   # none
    egress_ports          = [80, 443, 70000]                                    # not a port
    domain                = "https://comments.example.com"                      # a URL
    certificate_arn       = "arn:aws:iam::123456789012:server-certificate/site" # not of ACM
  }

  expect_failures = [
    var.project,
    var.vpc_cidr,
    var.admin_cidrs,
    var.ssh_public_key,
    var.ssh_address,
    var.instance_type,
    var.cpu_credits,
    var.root_volume_size,
    var.data_volume_size,
    var.backup_retention_days,
    var.egress_ports,
    var.domain,
    var.certificate_arn,
  ]
}

run "bad_values_2" {
  command = plan

  variables {
    project               = "comen_tarios"                      # S3 refuses underscores
    vpc_cidr              = "10.83.0.1/24"                      # host bits
    admin_cidrs           = ["0.0.0.0/1", "128.0.0.0/1"]        # the world in two halves
    ssh_public_key        = "ssh-dss AAAAB3NzaC1kc3MAAACBAPLRo" # a kind that EC2 refuses
    root_volume_size      = 16.5                                # not whole
    data_volume_size      = 8.5                                 # not whole
    backup_retention_days = 0.5                                 # not whole
    egress_ports          = [80]                                # no way to ECR
    domain                = "comments"                          # no dot
  }

  expect_failures = [
    var.project,
    var.vpc_cidr,
    var.admin_cidrs,
    var.ssh_public_key,
    var.root_volume_size,
    var.data_volume_size,
    var.backup_retention_days,
    var.egress_ports,
    var.domain,
  ]
}

run "bad_values_3" {
  command = plan

  variables {
    project          = "ab"                                               # too short
    vpc_cidr         = "10.0.0.0/8"                                       # larger than AWS takes
    admin_cidrs      = ["::/0"]                                           # the world over IPv6
    ssh_public_key   = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7vbqajDhA" # 1024 bits
    root_volume_size = 2048                                               # more than the limit
    data_volume_size = 20000                                              # more than gp3 has
    domain           = "Comments.example.com"                             # capitals
  }

  expect_failures = [
    var.project,
    var.vpc_cidr,
    var.admin_cidrs,
    var.ssh_public_key,
    var.root_volume_size,
    var.data_volume_size,
    var.domain,
  ]
}

run "bad_values_4" {
  command = plan

  variables {
    project         = "comentarios-of-somebody-else1"        # too long for the buckets' names
    ssh_public_keys = ["alice"]                              # a name
    vpc_cidr        = "10.83.0.0/28"                         # too small for two subnets
    admin_cidrs     = ["203.0.113.7/32", "203.0.113.300/32"] # one bad among good
    ssh_public_key  = ""                                     # empty
  }

  expect_failures = [
    var.project,
    var.ssh_public_keys,
    var.vpc_cidr,
    var.admin_cidrs,
    var.ssh_public_key,
  ]
}

run "bad_values_5" {
  command = plan

  variables {
    project     = "comentarios-"   # ends in a hyphen
    vpc_cidr    = "203.0.113.0/24" # somebody else's
    admin_cidrs = ["203.0.113.7"]  # no length
  }

  expect_failures = [
    var.project,
    var.vpc_cidr,
    var.admin_cidrs,
  ]
}

run "bad_values_6" {
  command = plan

  variables {
    project     = "sthree-comments"  # a prefix that S3 keeps for itself
    admin_cidrs = ["203.0.113.7/24"] # host bits
  }

  expect_failures = [
    var.project,
    var.admin_cidrs,
  ]
}

run "bad_values_7" {
  command = plan

  variables {
    instance_count = 2 # hosts sharing SQLite
  }

  expect_failures = [
    var.instance_count,
  ]
}

run "a_load_balancer_without_a_domain" {
  command = plan

  variables {
    load_balancer = true # and without a certificate
  }

  expect_failures = [
    var.load_balancer,
  ]
}

run "bad_values_8" {
  command = plan

  variables {
    database_url_parameter = "postgresql://user:secret@db/comments"     # the URL itself
    alarm_topic_arn        = "arn:aws:sns:us-east-1:123456789012:other" # not of this project
  }

  expect_failures = [
    var.database_url_parameter,
    var.alarm_topic_arn,
  ]
}

run "bad_values_9" {
  command = plan

  variables {
    database_url_parameter = "/other/database_url" # outside what hosts may read
  }

  expect_failures = [
    var.database_url_parameter,
  ]
}

run "bad_values_10" {
  command = plan

  variables {
    instance_count = 0 # none: that is `parked`
  }

  expect_failures = [
    var.instance_count,
  ]
}

run "bad_values_11" {
  command = plan

  variables {
    instance_count = 6 # beyond the quota of addresses
  }

  expect_failures = [
    var.instance_count,
  ]
}

run "bad_values_12" {
  command = plan

  variables {
    instance_count = 1.5 # not whole
  }

  expect_failures = [
    var.instance_count,
  ]
}

# Each host would ask for a certificate, and the authority finds either of them by the name.
run "several_hosts_with_a_domain_and_no_load_balancer" {
  command = plan

  variables {
    instance_count         = 2
    database_url_parameter = "/comentarios/database_url"
    domain                 = "comments.example.com"
  }

  expect_failures = [
    var.instance_count,
  ]
}

# Its subnets would be of /28, and a load balancer takes none smaller than /27.
run "a_network_too_small_for_a_load_balancer" {
  command = plan

  variables {
    vpc_cidr        = "10.83.0.0/27"
    domain          = "comments.example.com"
    load_balancer   = true
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
  }

  expect_failures = [
    var.load_balancer,
  ]
}

run "instance_type_of_arm" {
  command = plan

  variables {
    instance_type = "t4g.micro"
  }

  assert {
    condition     = data.aws_ami.debian.architecture == "arm64" && startswith(data.aws_ami.debian.name, "debian-13-arm64-")
    error_message = "A type of arm64 must get Debian's image of arm64."
  }
}

run "instance_type_not_on_nitro" {
  command = plan

  variables {
    instance_type = "t2.micro"
  }

  expect_failures = [data.aws_ec2_instance_type.this]
}

run "instance_type_with_too_little_memory" {
  command = plan

  variables {
    instance_type = "t3.nano"
  }

  expect_failures = [data.aws_ec2_instance_type.this]
}

run "names_in_iam_of_somebody_else" {
  command = plan

  variables {
    iam_prefix = "others-eu-west-1"
  }

  expect_failures = [
    var.iam_prefix,
  ]
}
