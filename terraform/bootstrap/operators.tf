# --- The people who run the project ----------------------------------------------------------------------------------

resource "aws_iam_group" "operators" {
  name = "${local.iam_prefix}-operators"
}

# --- MFA: without it, nothing but a new password ---------------------------------------------------------------------

# A user may have eight devices. If one could be added without MFA, a stolen key would bypass MFA, so an administrator
# assigns the first device.
resource "aws_iam_policy" "operators_identity" {
  name        = "${local.iam_prefix}-operators-identity"
  description = "Own MFA device and keys; nothing else without MFA."
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "FurtherMfaDevices"
        Effect    = "Allow"
        Action    = "iam:CreateVirtualMFADevice"
        Resource  = "arn:${local.partition}:iam::${local.account_id}:mfa/*"
        Condition = local.with_mfa
      },
      {
        Sid      = "OwnPassword"
        Effect   = "Allow"
        Action   = ["iam:ChangePassword", "iam:GetUser", "iam:ListMFADevices"]
        Resource = local.own_user
      },
      {
        Sid    = "OwnMfaAndAccessKeys"
        Effect = "Allow"
        Action = [
          "iam:CreateAccessKey",
          "iam:DeactivateMFADevice",
          "iam:DeleteAccessKey",
          "iam:EnableMFADevice",
          "iam:ListAccessKeys",
          "iam:ResyncMFADevice",
          "iam:UpdateAccessKey",
        ]
        Resource  = local.own_user
        Condition = local.with_mfa
      },
      {
        Sid    = "NothingElseWithoutMfa"
        Effect = "Deny"
        NotAction = [
          "iam:ChangePassword",
          "iam:GetUser",
          "iam:ListMFADevices",
          "sts:GetSessionToken",
        ]
        Resource = "*"
        # "IfExists": a request signed with a long-lived key has no such condition key, and must be refused, too.
        Condition = { BoolIfExists = { "aws:MultiFactorAuthPresent" = "false" } }
      },
    ]
  })
}

resource "aws_iam_group_policy_attachment" "operators_identity" {
  group      = aws_iam_group.operators.name
  policy_arn = aws_iam_policy.operators_identity.arn
}

# --- What `make up`, `make release` and `make down` need -------------------------------------------------------------

resource "aws_iam_policy" "operators" {
  name        = "${local.iam_prefix}-operators"
  description = "Making, releasing and removing the hosts of ${var.project}."
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "Look"
        Effect = "Allow"
        Action = [
          "cloudwatch:DescribeAlarms",
          "ec2:Describe*",
          "ecr:GetAuthorizationToken",
          "elasticloadbalancing:Describe*",
          "ssm:DescribeParameters",
        ]
        Resource = "*"
      },
      # Only with the project's tag. A volume must be empty: one made from a snapshot would reveal its content.
      {
        Sid    = "CreateWithTheTag"
        Effect = "Allow"
        Action = [
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
        Resource = "${local.ec2}:*/*"
        Condition = {
          StringEquals = { "aws:RequestTag/Project" = var.project }
          Null         = { "ec2:ParentSnapshot" = "true" }
        }
      },
      {
        Sid      = "RunTheHosts"
        Effect   = "Allow"
        Action   = "ec2:RunInstances"
        Resource = "${local.ec2}:instance/*"
        Condition = {
          StringEquals = {
            "aws:RequestTag/Project" = var.project
            "ec2:InstanceType"       = var.instance_types
          }
        }
      },
      {
        Sid       = "RunDebiansImage"
        Effect    = "Allow"
        Action    = "ec2:RunInstances"
        Resource  = "arn:${local.partition}:ec2:${local.region}::image/*"
        Condition = { StringEquals = { "ec2:Owner" = "136693071363" } }
      },
      # They are created with the instance and have no tags yet.
      {
        Sid      = "RunWithItsDiskAndInterface"
        Effect   = "Allow"
        Action   = "ec2:RunInstances"
        Resource = ["${local.ec2}:network-interface/*", "${local.ec2}:volume/*"]
      },
      # The interface, too, is created with the instance. IAM also checks the address, which has the tag.
      {
        Sid      = "AddressOnAnInterface"
        Effect   = "Allow"
        Action   = "ec2:AssociateAddress"
        Resource = "${local.ec2}:network-interface/*"
      },
      {
        Sid      = "TagWhatIsBeingCreated"
        Effect   = "Allow"
        Action   = "ec2:CreateTags"
        Resource = "${local.ec2}:*/*"
        Condition = {
          Null         = { "ec2:CreateAction" = "false" }
          StringEquals = { "aws:RequestTag/Project" = var.project }
        }
      },
      {
        Sid      = "ChangeAHostsType"
        Effect   = "Allow"
        Action   = "ec2:ModifyInstanceAttribute"
        Resource = "${local.ec2}:instance/*"
        Condition = {
          StringEquals         = { "aws:ResourceTag/Project" = var.project }
          StringEqualsIfExists = { "ec2:Attribute/InstanceType" = var.instance_types }
        }
      },
      {
        Sid    = "ChangeWhatIsOurs"
        Effect = "Allow"
        Action = [
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
        Resource  = "${local.ec2}:*/*"
        Condition = local.ours
      },
      # A host uses our subnet, our security group and our key.
      {
        Sid    = "RunInWhatIsOurs"
        Effect = "Allow"
        Action = "ec2:RunInstances"
        Resource = [
          "${local.ec2}:key-pair/*",
          "${local.ec2}:security-group/*",
          "${local.ec2}:subnet/*",
        ]
        Condition = local.ours
      },
      # CloudWatch has no condition for the instance of an alarm, so the alarms' actions are limited to harmless ones.
      {
        Sid    = "Alarms"
        Effect = "Allow"
        Action = [
          "cloudwatch:DeleteAlarms",
          "cloudwatch:ListTagsForResource",
          "cloudwatch:PutMetricAlarm",
          "cloudwatch:TagResource",
          "cloudwatch:UntagResource",
        ]
        Resource = "arn:${local.partition}:cloudwatch:${local.region}:${local.account_id}:alarm:${var.project}-*"
        Condition = {
          "ForAllValues:StringLike" = {
            "cloudwatch:AlarmActions" = [
              "arn:${local.partition}:automate:${local.region}:ec2:reboot",
              "arn:${local.partition}:automate:${local.region}:ec2:recover",
              "arn:${local.partition}:sns:${local.region}:${local.account_id}:${var.project}-*",
            ]
          }
        }
      },
      {
        Sid    = "LoadBalancer"
        Effect = "Allow"
        Action = "elasticloadbalancing:*"
        Resource = [
          "arn:${local.partition}:elasticloadbalancing:${local.region}:${local.account_id}:*/app/${var.project}/*",
          "arn:${local.partition}:elasticloadbalancing:${local.region}:${local.account_id}:targetgroup/${var.project}/*",
        ]
      },
      {
        Sid    = "Images"
        Effect = "Allow"
        Action = [
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
        Resource = aws_ecr_repository.api.arn
      },
      {
        Sid      = "ReadTheStates"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:ListBucket"]
        Resource = [module.state.arn, "${module.state.arn}/*"]
      },
      {
        Sid    = "WriteTheHostsState"
        Effect = "Allow"
        Action = ["s3:DeleteObject", "s3:PutObject"]
        Resource = [
          "${module.state.arn}/host/terraform.tfstate",
          "${module.state.arn}/host/terraform.tfstate.tflock",
        ]
      },
      {
        Sid      = "Backups"
        Effect   = "Allow"
        Action   = "s3:*"
        Resource = [local.backup_bucket_arn, "${local.backup_bucket_arn}/*"]
      },
      {
        Sid    = "Parameters"
        Effect = "Allow"
        Action = [
          "ssm:AddTagsToResource",
          "ssm:DeleteParameter",
          "ssm:GetParameter",
          "ssm:GetParameters",
          "ssm:GetParametersByPath",
          "ssm:ListTagsForResource",
          "ssm:PutParameter",
        ]
        Resource = local.ssm_parameters_arns
      },
    ]
  })
}

resource "aws_iam_group_policy_attachment" "operators" {
  group      = aws_iam_group.operators.name
  policy_arn = aws_iam_policy.operators.arn
}

# --- The host's role, within its boundary ----------------------------------------------------------------------------

resource "aws_iam_policy" "operators_roles" {
  name        = "${local.iam_prefix}-operators-roles"
  description = "The role of the hosts of ${var.project}, within its boundary."
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "LookAtTheHostsRole"
        Effect = "Allow"
        Action = [
          "iam:GetInstanceProfile",
          "iam:GetRole",
          "iam:GetRolePolicy",
          "iam:ListAttachedRolePolicies",
          "iam:ListInstanceProfilesForRole",
          "iam:ListRolePolicies",
          "iam:ListRoleTags",
        ]
        Resource = [local.host_role_arn, local.host_profile_arn]
      },
      {
        Sid       = "WriteTheHostsRoleWithinItsBoundary"
        Effect    = "Allow"
        Action    = ["iam:CreateRole", "iam:DeleteRolePolicy", "iam:PutRolePolicy"]
        Resource  = local.host_role_arn
        Condition = { StringEquals = { "iam:PermissionsBoundary" = aws_iam_policy.host_boundary.arn } }
      },
      {
        Sid    = "TheHostsRoleAndProfile"
        Effect = "Allow"
        Action = [
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
        Resource = [local.host_role_arn, local.host_profile_arn]
      },
      {
        Sid       = "GiveTheHostsRoleToHosts"
        Effect    = "Allow"
        Action    = "iam:PassRole"
        Resource  = local.host_role_arn
        Condition = { StringEquals = { "iam:PassedToService" = "ec2.amazonaws.com" } }
      },
      # Service-linked roles, which AWS defines: for the recovery of instances, and for load balancers.
      {
        Sid       = "RolesOfAwsOwn"
        Effect    = "Allow"
        Action    = "iam:CreateServiceLinkedRole"
        Resource  = "arn:${local.partition}:iam::${local.account_id}:role/aws-service-role/*"
        Condition = { StringEquals = { "iam:AWSServiceName" = ["elasticloadbalancing.amazonaws.com", "events.amazonaws.com"] } }
      },
    ]
  })
}

resource "aws_iam_group_policy_attachment" "operators_roles" {
  group      = aws_iam_group.operators.name
  policy_arn = aws_iam_policy.operators_roles.arn
}
