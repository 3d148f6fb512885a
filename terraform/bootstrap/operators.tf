# --- The people who run the project ----------------------------------------------------------------------------------

resource "aws_iam_group" "operators" {
  name = "${local.iam_prefix}-operators"
}

# --- MFA: without it, nothing but a new password ---------------------------------------------------------------------

# A user may have eight devices. If one could be added without MFA, a stolen key would bypass MFA, so an administrator
# assigns the first device.
data "aws_iam_policy_document" "operators_identity" {
  statement {
    sid       = "FurtherMfaDevices"
    actions   = ["iam:CreateVirtualMFADevice"]
    resources = ["arn:${local.partition}:iam::${local.account_id}:mfa/*"]

    condition {
      test     = "Bool"
      variable = "aws:MultiFactorAuthPresent"
      values   = ["true"]
    }
  }

  statement {
    sid       = "OwnPassword"
    actions   = ["iam:ChangePassword", "iam:GetUser", "iam:ListMFADevices"]
    resources = ["arn:${local.partition}:iam::${local.account_id}:user/$${aws:username}"]
  }

  statement {
    sid = "OwnMfaAndAccessKeys"
    actions = [
      "iam:CreateAccessKey",
      "iam:DeactivateMFADevice",
      "iam:DeleteAccessKey",
      "iam:EnableMFADevice",
      "iam:ListAccessKeys",
      "iam:ResyncMFADevice",
      "iam:UpdateAccessKey",
    ]
    resources = ["arn:${local.partition}:iam::${local.account_id}:user/$${aws:username}"]

    condition {
      test     = "Bool"
      variable = "aws:MultiFactorAuthPresent"
      values   = ["true"]
    }
  }

  statement {
    sid    = "NothingElseWithoutMfa"
    effect = "Deny"
    not_actions = [
      "iam:ChangePassword",
      "iam:GetUser",
      "iam:ListMFADevices",
      "sts:GetSessionToken",
    ]
    resources = ["*"]

    # "IfExists": a request signed with a long-lived key has no such condition key, and must be refused, too.
    condition {
      test     = "BoolIfExists"
      variable = "aws:MultiFactorAuthPresent"
      values   = ["false"]
    }
  }
}

resource "aws_iam_policy" "operators_identity" {
  name        = "${local.iam_prefix}-operators-identity"
  description = "Own MFA device and keys; nothing else without MFA."
  policy      = data.aws_iam_policy_document.operators_identity.json
}

resource "aws_iam_group_policy_attachment" "operators_identity" {
  group      = aws_iam_group.operators.name
  policy_arn = aws_iam_policy.operators_identity.arn
}

# --- What `make up`, `make release` and `make down` need -------------------------------------------------------------

data "aws_iam_policy_document" "operators" {
  #checkov:skip=CKV_AWS_356:EC2, CloudWatch and ELB take no resource but * for the actions that describe and create
  #checkov:skip=CKV_AWS_109:roles can be written within the permissions boundary only
  #checkov:skip=CKV_AWS_111:creating and changing are limited to what carries the project's tag

  statement {
    sid = "Look"
    actions = [
      "cloudwatch:DescribeAlarms",
      "ec2:Describe*",
      "ecr:GetAuthorizationToken",
      "elasticloadbalancing:Describe*",
      "ssm:DescribeParameters",
    ]
    resources = ["*"]
  }

  # Only with the project's tag. A volume must be empty: one made from a snapshot would reveal its content.
  statement {
    sid = "CreateWithTheTag"
    actions = [
      "ec2:AllocateAddress",
      "ec2:AuthorizeSecurityGroupEgress",
      "ec2:AuthorizeSecurityGroupIngress",
      "ec2:CreateInternetGateway",
      "ec2:CreateRouteTable",
      "ec2:CreateSecurityGroup",
      "ec2:CreateSubnet",
      "ec2:CreateVolume",
      "ec2:CreateVpc",
      "ec2:ImportKeyPair",
    ]
    resources = ["${local.ec2}:*/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/Project"
      values   = [var.project]
    }

    condition {
      test     = "Null"
      variable = "ec2:ParentSnapshot"
      values   = ["true"]
    }
  }

  statement {
    sid       = "RunTheHosts"
    actions   = ["ec2:RunInstances"]
    resources = ["${local.ec2}:instance/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/Project"
      values   = [var.project]
    }

    condition {
      test     = "StringEquals"
      variable = "ec2:InstanceType"
      values   = var.instance_types
    }
  }

  statement {
    sid       = "RunDebiansImage"
    actions   = ["ec2:RunInstances"]
    resources = ["arn:${local.partition}:ec2:${local.region}::image/*"]

    condition {
      test     = "StringEquals"
      variable = "ec2:Owner"
      values   = ["136693071363"]
    }
  }

  # They are created with the instance and have no tags yet.
  statement {
    sid       = "RunWithItsDiskAndInterface"
    actions   = ["ec2:RunInstances"]
    resources = ["${local.ec2}:network-interface/*", "${local.ec2}:volume/*"]
  }

  # The interface, too, is created with the instance. IAM also checks the address, which has the tag.
  statement {
    sid       = "AddressOnAnInterface"
    actions   = ["ec2:AssociateAddress"]
    resources = ["${local.ec2}:network-interface/*"]
  }

  statement {
    sid       = "TagWhatIsBeingCreated"
    actions   = ["ec2:CreateTags"]
    resources = ["${local.ec2}:*/*"]

    condition {
      test     = "Null"
      variable = "ec2:CreateAction"
      values   = ["false"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/Project"
      values   = [var.project]
    }
  }

  statement {
    sid       = "ChangeAHostsType"
    actions   = ["ec2:ModifyInstanceAttribute"]
    resources = ["${local.ec2}:instance/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Project"
      values   = [var.project]
    }

    condition {
      test     = "StringEqualsIfExists"
      variable = "ec2:Attribute/InstanceType"
      values   = var.instance_types
    }
  }

  statement {
    sid = "ChangeWhatIsOurs"
    actions = [
      "ec2:AssociateAddress",
      "ec2:AssociateRouteTable",
      "ec2:AttachInternetGateway",
      "ec2:AttachVolume",
      "ec2:AuthorizeSecurityGroupEgress",
      "ec2:AuthorizeSecurityGroupIngress",
      "ec2:CreateRoute",
      "ec2:CreateRouteTable",
      "ec2:CreateSecurityGroup",
      "ec2:CreateSubnet",
      "ec2:CreateTags",
      "ec2:DeleteInternetGateway",
      "ec2:DeleteKeyPair",
      "ec2:DeleteRoute",
      "ec2:DeleteRouteTable",
      "ec2:DeleteSecurityGroup",
      "ec2:DeleteSubnet",
      "ec2:DeleteTags",
      "ec2:DeleteVolume",
      "ec2:DeleteVpc",
      "ec2:DetachInternetGateway",
      "ec2:DetachVolume",
      "ec2:DisassociateAddress",
      "ec2:DisassociateRouteTable",
      "ec2:ModifyInstanceCreditSpecification",
      "ec2:ModifyInstanceMetadataOptions",
      "ec2:ModifySecurityGroupRules",
      "ec2:ModifySubnetAttribute",
      "ec2:ModifyVolume",
      "ec2:ModifyVpcAttribute",
      "ec2:ReleaseAddress",
      "ec2:RevokeSecurityGroupEgress",
      "ec2:RevokeSecurityGroupIngress",
      "ec2:StartInstances",
      "ec2:StopInstances",
      "ec2:TerminateInstances",
    ]
    resources = ["${local.ec2}:*/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Project"
      values   = [var.project]
    }
  }

  # A host uses our subnet, our security group and our key.
  statement {
    sid     = "RunInWhatIsOurs"
    actions = ["ec2:RunInstances"]
    resources = [
      "${local.ec2}:key-pair/*",
      "${local.ec2}:security-group/*",
      "${local.ec2}:subnet/*",
    ]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Project"
      values   = [var.project]
    }
  }

  # CloudWatch has no condition for the instance of an alarm, so the alarms' actions are limited to harmless ones.
  statement {
    sid = "Alarms"
    actions = [
      "cloudwatch:DeleteAlarms",
      "cloudwatch:ListTagsForResource",
      "cloudwatch:PutMetricAlarm",
      "cloudwatch:TagResource",
      "cloudwatch:UntagResource",
    ]
    resources = ["arn:${local.partition}:cloudwatch:${local.region}:${local.account_id}:alarm:${var.project}-*"]

    condition {
      test     = "ForAllValues:StringLike"
      variable = "cloudwatch:AlarmActions"
      values = [
        "arn:${local.partition}:automate:${local.region}:ec2:reboot",
        "arn:${local.partition}:automate:${local.region}:ec2:recover",
        "arn:${local.partition}:sns:${local.region}:${local.account_id}:${var.project}-*",
      ]
    }
  }

  statement {
    sid     = "LoadBalancer"
    actions = ["elasticloadbalancing:*"]
    resources = [
      "arn:${local.partition}:elasticloadbalancing:${local.region}:${local.account_id}:*/app/${var.project}/*",
      "arn:${local.partition}:elasticloadbalancing:${local.region}:${local.account_id}:targetgroup/${var.project}/*",
    ]
  }

  statement {
    sid = "Images"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:CompleteLayerUpload",
      "ecr:DescribeImageScanFindings",
      "ecr:DescribeImages",
      "ecr:DescribeRepositories",
      "ecr:GetDownloadUrlForLayer",
      "ecr:InitiateLayerUpload",
      "ecr:ListImages",
      "ecr:ListTagsForResource",
      "ecr:PutImage",
      "ecr:UploadLayerPart",
    ]
    resources = [aws_ecr_repository.api.arn]
  }

  statement {
    sid       = "ReadTheStates"
    actions   = ["s3:GetObject", "s3:ListBucket"]
    resources = [module.state.arn, "${module.state.arn}/*"]
  }

  statement {
    sid     = "WriteTheHostsState"
    actions = ["s3:DeleteObject", "s3:PutObject"]
    resources = [
      "${module.state.arn}/host/terraform.tfstate",
      "${module.state.arn}/host/terraform.tfstate.tflock",
    ]
  }

  statement {
    sid       = "Backups"
    actions   = ["s3:*"]
    resources = [local.backup_bucket_arn, "${local.backup_bucket_arn}/*"]
  }

  statement {
    sid = "Parameters"
    actions = [
      "ssm:AddTagsToResource",
      "ssm:DeleteParameter",
      "ssm:GetParameter",
      "ssm:GetParameters",
      "ssm:GetParametersByPath",
      "ssm:ListTagsForResource",
      "ssm:PutParameter",
    ]
    resources = local.ssm_parameters_arns
  }
}

resource "aws_iam_policy" "operators" {
  name        = "${local.iam_prefix}-operators"
  description = "Making, releasing and removing the hosts of ${var.project}."
  policy      = data.aws_iam_policy_document.operators.json
}

resource "aws_iam_group_policy_attachment" "operators" {
  group      = aws_iam_group.operators.name
  policy_arn = aws_iam_policy.operators.arn
}

# --- The host's role, within its boundary ----------------------------------------------------------------------------

data "aws_iam_policy_document" "operators_roles" {
  statement {
    sid = "LookAtTheHostsRole"
    actions = [
      "iam:GetInstanceProfile",
      "iam:GetRole",
      "iam:GetRolePolicy",
      "iam:ListAttachedRolePolicies",
      "iam:ListInstanceProfilesForRole",
      "iam:ListRolePolicies",
      "iam:ListRoleTags",
    ]
    resources = [local.host_role_arn, local.host_profile_arn]
  }

  statement {
    sid       = "WriteTheHostsRoleWithinItsBoundary"
    actions   = ["iam:CreateRole", "iam:DeleteRolePolicy", "iam:PutRolePolicy"]
    resources = [local.host_role_arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PermissionsBoundary"
      values   = [aws_iam_policy.host_boundary.arn]
    }
  }

  statement {
    sid = "TheHostsRoleAndProfile"
    actions = [
      "iam:AddRoleToInstanceProfile",
      "iam:CreateInstanceProfile",
      "iam:DeleteInstanceProfile",
      "iam:DeleteRole",
      "iam:RemoveRoleFromInstanceProfile",
      "iam:TagInstanceProfile",
      "iam:TagRole",
      "iam:UntagInstanceProfile",
      "iam:UntagRole",
      "iam:UpdateRoleDescription",
    ]
    resources = [local.host_role_arn, local.host_profile_arn]
  }

  statement {
    sid       = "GiveTheHostsRoleToHosts"
    actions   = ["iam:PassRole"]
    resources = [local.host_role_arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ec2.amazonaws.com"]
    }
  }

  # Service-linked roles, which AWS defines: for the recovery of instances, and for load balancers.
  statement {
    sid       = "RolesOfAwsOwn"
    actions   = ["iam:CreateServiceLinkedRole"]
    resources = ["arn:${local.partition}:iam::${local.account_id}:role/aws-service-role/*"]

    condition {
      test     = "StringEquals"
      variable = "iam:AWSServiceName"
      values   = ["elasticloadbalancing.amazonaws.com", "events.amazonaws.com"]
    }
  }
}

resource "aws_iam_policy" "operators_roles" {
  name        = "${local.iam_prefix}-operators-roles"
  description = "The role of the hosts of ${var.project}, within its boundary."
  policy      = data.aws_iam_policy_document.operators_roles.json
}

resource "aws_iam_group_policy_attachment" "operators_roles" {
  group      = aws_iam_group.operators.name
  policy_arn = aws_iam_policy.operators_roles.arn
}
