data "aws_availability_zones" "this" {
  #checkov:skip=CKV_AWS_394:the subnets keep their zones
  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

# Not every zone has every instance type, and the zones' names differ by account.
data "aws_ec2_instance_type_offerings" "this" {
  location_type = "availability-zone"

  filter {
    name   = "instance-type"
    values = [var.instance_type]
  }
}

locals {
  zones = sort(setintersection(
    data.aws_availability_zones.this.names,
    data.aws_ec2_instance_type_offerings.this.locations,
  ))
}

resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_11:flow logs are billed by the gigabyte; few ports are open, and they are tested
  #checkov:skip=CKV2_AWS_12:the default group is not used; to empty it, operators would need rights on all groups
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = { Name = var.project }
}

# Two zones, as a load balancer requires; hosts alternate between them.
resource "aws_subnet" "public" {
  count = 2

  vpc_id            = aws_vpc.this.id
  cidr_block        = cidrsubnet(aws_vpc.this.cidr_block, 1, count.index)
  availability_zone = local.zones[count.index]

  tags = { Name = "${var.project}-public-${count.index + 1}" }

  lifecycle {
    # Another instance type must not move a subnet, and with it the hosts and the data.
    ignore_changes = [availability_zone]
  }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id

  tags = { Name = var.project }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.this.id
  }

  tags = { Name = "${var.project}-public" }
}

resource "aws_route_table_association" "public" {
  count = length(aws_subnet.public)

  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}
