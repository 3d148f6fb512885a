locals {
  # As in the names of Debian's images. Older types also support i386.
  architecture = contains(data.aws_ec2_instance_type.this.supported_architectures, "arm64") ? "arm64" : "amd64"
}

data "aws_ami" "debian" {
  most_recent = true
  owners      = ["136693071363"] # Debian's own account

  filter {
    name   = "name"
    values = ["debian-13-${local.architecture}-*"]
  }
}

data "aws_ec2_instance_type" "this" {
  instance_type = var.instance_type

  lifecycle {
    postcondition {
      condition     = self.hypervisor == "nitro"
      error_message = "instance_type ${var.instance_type} is not based on Nitro: choose one that is, such as t3.small."
    }

    postcondition {
      condition     = self.memory_size >= 1024
      error_message = "instance_type ${var.instance_type} has less than 1 GiB of memory, which the stack needs: choose t3.micro or larger."
    }
  }
}

resource "aws_instance" "this" {
  #checkov:skip=CKV_AWS_126:detailed monitoring costs; Prometheus watches the host every 15 seconds
  count = local.host_count

  ami                    = data.aws_ami.debian.id
  instance_type          = data.aws_ec2_instance_type.this.instance_type
  subnet_id              = aws_subnet.public[count.index % 2].id
  vpc_security_group_ids = [aws_security_group.host.id]
  iam_instance_profile   = aws_iam_instance_profile.host.name
  key_name               = aws_key_pair.this.key_name
  ebs_optimized          = true
  monitoring             = false

  # A T3 is unlimited by default.
  dynamic "credit_specification" {
    for_each = data.aws_ec2_instance_type.this.burstable_performance_supported && var.cpu_credits == "standard" ? ["standard"] : []

    content {
      cpu_credits = credit_specification.value
    }
  }

  user_data = "#cloud-config\n${yamlencode(merge(
    { hostname = "${var.project}-${count.index + 1}" },
    length(var.ssh_public_keys) == 0 ? {} : { ssh_authorized_keys = sort(var.ssh_public_keys) },
  ))}"

  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
    # With one hop, containers on the host cannot reach the host's credentials.
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = var.root_volume_size
    encrypted   = true

    tags = { Name = "${var.project}-${count.index + 1}-root" }
  }

  tags = {
    Name        = "${var.project}-${count.index + 1}"
    ssh_address = var.ssh_address
    # Read by the inventory, too.
    edge_domain            = local.edge_domain
    trusted_proxies        = var.load_balancer ? var.vpc_cidr : ""
    database_url_parameter = local.database_url_parameter
  }

  lifecycle {
    # Debian publishes a new image every few weeks, which must not replace a host by itself: use `terraform apply -replace`.
    # Role base manages the keys of running hosts.
    ignore_changes = [ami, user_data]
  }

  # The role must have its permissions when the instance boots.
  depends_on = [aws_iam_role_policy.host]
}

# An address that stays when the instance is stopped or replaced.
resource "aws_eip" "this" {
  count = local.host_count

  domain   = "vpc"
  instance = aws_instance.this[count.index].id

  tags = { Name = "${var.project}-${count.index + 1}" }

  depends_on = [aws_internet_gateway.this]
}
