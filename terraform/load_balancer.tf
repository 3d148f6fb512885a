# Off by default, since it costs more than the host. It terminates TLS with a certificate from ACM. The hosts accept HTTP
# from it only.
locals {
  load_balancer_count = var.load_balancer && !var.parked ? 1 : 0
}

resource "aws_security_group" "load_balancer" {
  count = local.load_balancer_count

  name        = "${var.project}-load-balancer"
  description = "HTTP and HTTPS from everywhere, HTTP to the hosts."
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.project}-load-balancer" }
}

resource "aws_vpc_security_group_ingress_rule" "load_balancer" {
  #checkov:skip=CKV_AWS_260:port 80 answers with a redirect to HTTPS
  for_each = local.load_balancer_count == 1 ? local.web_ports : {}

  security_group_id = aws_security_group.load_balancer[0].id
  description       = "${each.key} from everywhere"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}

resource "aws_vpc_security_group_egress_rule" "load_balancer" {
  count = local.load_balancer_count

  security_group_id            = aws_security_group.load_balancer[0].id
  description                  = "HTTP to the hosts"
  referenced_security_group_id = aws_security_group.host.id
  ip_protocol                  = "tcp"
  from_port                    = 80
  to_port                      = 80
}

resource "aws_vpc_security_group_ingress_rule" "from_load_balancer" {
  count = local.load_balancer_count

  security_group_id            = aws_security_group.host.id
  description                  = "HTTP from the load balancer"
  referenced_security_group_id = aws_security_group.load_balancer[0].id
  ip_protocol                  = "tcp"
  from_port                    = 80
  to_port                      = 80
}

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_91:access logs cost storage; the hosts' edge counts every request
  #checkov:skip=CKV_AWS_150:it holds no data, and `make down` must be able to remove it
  #checkov:skip=CKV2_AWS_28:a web application firewall costs by the month; the API takes JSON that it validates itself
  count = local.load_balancer_count

  name                       = var.project
  load_balancer_type         = "application"
  internal                   = false
  security_groups            = [aws_security_group.load_balancer[0].id]
  subnets                    = aws_subnet.public[*].id
  drop_invalid_header_fields = true
}

resource "aws_lb_target_group" "this" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer; from there it is HTTP inside the VPC
  count = local.load_balancer_count

  name                 = var.project
  vpc_id               = aws_vpc.this.id
  port                 = 80
  protocol             = "HTTP"
  deregistration_delay = 30

  # The shortest interval that AWS allows: a host that is down gets requests for about ten seconds.
  health_check {
    path                = "/readyz"
    matcher             = "200"
    interval            = 5
    timeout             = 2
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_target_group_attachment" "this" {
  count = local.load_balancer_count * local.host_count

  target_group_arn = aws_lb_target_group.this[0].arn
  target_id        = aws_instance.this[count.index].id
}

resource "aws_lb_listener" "https" {
  count = local.load_balancer_count

  load_balancer_arn = aws_lb.this[0].arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this[0].arn
  }
}

resource "aws_lb_listener" "http" {
  count = local.load_balancer_count

  load_balancer_arn = aws_lb.this[0].arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "redirect"

    redirect {
      port        = "443"
      protocol    = "HTTPS"
      status_code = "HTTP_301"
    }
  }
}
