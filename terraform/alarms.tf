# CloudWatch's alarms need no software on the hosts.
locals {
  alarms = {
    system = {
      metric      = "StatusCheckFailed_System"
      actions     = ["arn:${local.partition}:automate:${local.region}:ec2:recover"]
      period      = 60
      periods     = 2
      description = "AWS's hardware or network failed: the instance moves to other hardware, with its volumes and address."
    }
    instance = {
      metric  = "StatusCheckFailed_Instance"
      actions = ["arn:${local.partition}:automate:${local.region}:ec2:reboot"]
      period  = 60
      # One more than for `recover`: AWS requires that the two never happen in the same minute.
      periods     = 3
      description = "The system on the instance does not answer: it is rebooted."
    }
    # AWS updates this metric every five minutes.
    credits = {
      metric      = "CPUSurplusCreditsCharged"
      actions     = []
      period      = 300
      periods     = 1
      description = "The CPU is used beyond what the instance type includes, and billed by the hour: terraform/cost.md."
    }
  }

  alarm_names = [
    for name in keys(local.alarms) : name
    if name != "credits" || data.aws_ec2_instance_type.this.burstable_performance_supported && var.cpu_credits == "unlimited"
  ]

  host_alarms = {
    for pair in setproduct(range(local.host_count), local.alarm_names) :
    "${pair[0] + 1}-${pair[1]}" => merge(local.alarms[pair[1]], { index = pair[0] })
  }
}

resource "aws_cloudwatch_metric_alarm" "host" {
  for_each = local.host_alarms

  alarm_name        = "${var.project}-${each.key}"
  alarm_description = each.value.description
  alarm_actions     = concat(each.value.actions, compact([var.alarm_topic_arn]))

  namespace           = "AWS/EC2"
  metric_name         = each.value.metric
  dimensions          = { InstanceId = aws_instance.this[each.value.index].id }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = each.value.period
  evaluation_periods  = each.value.periods
}
