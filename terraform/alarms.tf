# AWS's own watch over the machines: it needs nothing that runs on them.
locals {
  alarms = {
    system = {
      metric      = "StatusCheckFailed_System"
      action      = "recover"
      periods     = 2
      description = "AWS's hardware or network failed: the instance moves to other hardware, with its volumes and address."
    }
    instance = {
      metric = "StatusCheckFailed_Instance"
      action = "reboot"
      # One more than for `recover`: AWS wants the two to never come at the same minute.
      periods     = 3
      description = "The system on the instance does not answer: it is rebooted."
    }
  }

  host_alarms = {
    for pair in setproduct(range(local.host_count), keys(local.alarms)) :
    "${pair[0] + 1}-${pair[1]}" => merge(local.alarms[pair[1]], { index = pair[0] })
  }
}

resource "aws_cloudwatch_metric_alarm" "host" {
  for_each = local.host_alarms

  alarm_name        = "${var.project}-${each.key}"
  alarm_description = each.value.description
  alarm_actions     = ["arn:${local.partition}:automate:${local.region}:ec2:${each.value.action}"]

  namespace           = "AWS/EC2"
  metric_name         = each.value.metric
  dimensions          = { InstanceId = aws_instance.this[each.value.index].id }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 60
  evaluation_periods  = each.value.periods
}
