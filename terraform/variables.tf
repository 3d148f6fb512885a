variable "vpc_cidr" {
  description = "IPv4 network of the VPC, in a private range."
  type        = string
  default     = "10.83.0.0/24"
  nullable    = false

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && try(cidrhost(var.vpc_cidr, 0) == split("/", var.vpc_cidr)[0], false)
    error_message = "vpc_cidr must be an IPv4 network such as 10.83.0.0/24, with no host bits set."
  }

  validation {
    condition     = try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 27, false)
    error_message = "vpc_cidr must be between /16 and /27: AWS allows no larger VPC, and each of the two subnets needs a /28."
  }

  validation {
    condition     = can(regex("^(10\\.|192\\.168\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.)", var.vpc_cidr))
    error_message = "vpc_cidr must be in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16: other addresses are public."
  }
}

variable "admin_cidrs" {
  description = "IPv4 networks that may connect by SSH, such as [\"203.0.113.7/32\"]. [] closes SSH. It has no default on purpose."
  type        = set(string)
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.admin_cidrs : can(cidrnetmask(cidr))])
    error_message = "admin_cidrs must contain IPv4 networks such as 203.0.113.7/32 (the VPC has no IPv6)."
  }

  validation {
    condition     = alltrue([for cidr in var.admin_cidrs : try(cidrhost(cidr, 0) == split("/", cidr)[0], true)])
    error_message = "admin_cidrs must contain networks with no host bits set: 203.0.113.0/24, not 203.0.113.7/24."
  }

  validation {
    condition     = alltrue([for cidr in var.admin_cidrs : try(tonumber(split("/", cidr)[1]) >= 8, true)])
    error_message = "admin_cidrs must not contain networks larger than a /8: set it to your own address, as a.b.c.d/32."
  }
}

variable "ssh_public_key" {
  description = "Public key for SSH: one line, as in ~/.ssh/id_ed25519.pub."
  type        = string
  nullable    = false

  validation {
    condition     = !can(regex("PRIVATE KEY", var.ssh_public_key))
    error_message = "ssh_public_key is a private key: use the file whose name ends in .pub, and replace that private key."
  }

  validation {
    condition     = can(regex(local.ssh_key, trimspace(var.ssh_public_key)))
    error_message = "ssh_public_key must be one line, `ssh-ed25519 AAAA… name` or `ssh-rsa AAAA… name` with at least 2048 bits: EC2 accepts no other types."
  }
}

variable "ssh_public_keys" {
  description = "Further public keys for SSH. A new host gets them at its first boot; role base updates them on running hosts. The verbs set all operators' keys."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for key in var.ssh_public_keys : can(regex(local.ssh_key, trimspace(key)))])
    error_message = "ssh_public_keys must contain public keys of the same form as ssh_public_key, one line each."
  }
}

variable "ssh_address" {
  description = "Address to connect to by SSH: `public`, or `private` from inside the VPC, through a VPN or a bastion host."
  type        = string
  default     = "public"
  nullable    = false

  validation {
    condition     = contains(["public", "private"], var.ssh_address)
    error_message = "ssh_address must be \"public\" or \"private\"."
  }
}

variable "instance_type" {
  description = "EC2 instance type of the hosts, on Nitro and with at least 1 GiB of memory. For an arm64 type, build the image on arm64."
  type        = string
  default     = "t3.small"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", var.instance_type))
    error_message = "instance_type must be an EC2 instance type such as t3.small."
  }
}

variable "cpu_credits" {
  description = "What a burstable instance type (T3) does without CPU credits: `unlimited` continues and is billed, `standard` slows down."
  type        = string
  default     = "unlimited"
  nullable    = false

  validation {
    condition     = contains(["unlimited", "standard"], var.cpu_credits)
    error_message = "cpu_credits must be \"unlimited\" or \"standard\"."
  }
}

variable "alarm_topic_arn" {
  description = "ARN of an SNS topic for CloudWatch's alarms, named <project>-…. null: alarms are visible in the console only."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_topic_arn == null || can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:${var.project}-[A-Za-z0-9_-]+$", var.alarm_topic_arn))
    error_message = "alarm_topic_arn must be arn:aws:sns:<region>:<account>:${var.project}-<name>: operators may send alarms to such topics only."
  }
}

variable "root_volume_size" {
  description = "Size of a host's root volume in GiB, for the system and the container images."
  type        = number
  default     = 16
  nullable    = false

  validation {
    condition     = var.root_volume_size >= 8 && var.root_volume_size <= 1024 && floor(var.root_volume_size) == var.root_volume_size
    error_message = "root_volume_size must be a whole number of GiB from 8 to 1024."
  }
}

variable "instance_count" {
  description = "Number of hosts. Several hosts need a shared database: see database_url_parameter."
  type        = number
  default     = 1
  nullable    = false

  # By default, an account may have five Elastic IPs in a region.
  validation {
    condition     = var.instance_count >= 1 && var.instance_count <= 5 && floor(var.instance_count) == var.instance_count
    error_message = "instance_count must be a whole number from 1 to 5. To stop paying for hosts, set parked."
  }

  validation {
    condition     = var.instance_count == 1 || var.database_url_parameter != null
    error_message = "instance_count above 1 needs database_url_parameter: hosts cannot share SQLite."
  }

  # Only the host that ordered the certificate can answer the challenge.
  validation {
    condition     = var.instance_count == 1 || var.domain == null || var.load_balancer
    error_message = "instance_count above 1 with domain needs load_balancer: hosts that share a domain cannot each get a certificate for it."
  }
}

variable "database_url_parameter" {
  description = "Name of the SSM parameter with DATABASE_URL, under /<project>/. null: SQLite on the data volume."
  type        = string
  default     = null

  validation {
    condition = (
      var.database_url_parameter == null ||
      can(regex("^/${var.project}/[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", var.database_url_parameter))
    )
    error_message = "database_url_parameter must be a name such as /${var.project}/database_url (not the URL itself): hosts can read only those."
  }
}

variable "data_volume_size" {
  description = "Size of a host's data volume in GiB, for the database. It can grow but not shrink."
  type        = number
  default     = 8
  nullable    = false

  validation {
    condition     = var.data_volume_size >= 1 && var.data_volume_size <= 16384 && floor(var.data_volume_size) == var.data_volume_size
    error_message = "data_volume_size must be a whole number of GiB from 1 to 16384."
  }
}

variable "backup_retention_days" {
  description = "Days for which each day's first backup is kept. The others are kept for two days."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.backup_retention_days >= 1 && var.backup_retention_days <= 3650 && floor(var.backup_retention_days) == var.backup_retention_days
    error_message = "backup_retention_days must be a whole number of days from 1 to 3650."
  }
}

variable "egress_ports" {
  description = "TCP ports that hosts may connect to: packages and ECR (80, 443), mail for alerts (587). database_url_parameter adds 5432."
  type        = set(number)
  default     = [80, 443, 587]
  nullable    = false

  validation {
    condition     = alltrue([for port in var.egress_ports : port >= 1 && port <= 65535 && floor(port) == port])
    error_message = "egress_ports must be whole numbers from 1 to 65535."
  }

  validation {
    condition     = alltrue([for port in [80, 443] : contains(var.egress_ports, port)])
    error_message = "egress_ports must contain 80 and 443: without them a host cannot reach Debian's archive and ECR."
  }
}

variable "domain" {
  description = "Domain of the site, such as comments.example.com, served by HTTPS. null: plain HTTP at the host's address."
  type        = string
  default     = null

  validation {
    condition = (
      var.domain == null ||
      can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$", var.domain)) && try(length(var.domain) <= 253, false)
    )
    error_message = "domain must be a host name in lower case such as comments.example.com, with no https:// and no path."
  }
}

variable "load_balancer" {
  description = "Whether to create an Application Load Balancer in front of the hosts."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.load_balancer || var.certificate_arn != null && var.domain != null
    error_message = "load_balancer needs domain and the certificate_arn of its certificate: it serves HTTPS only."
  }

  # An Application Load Balancer needs subnets of at least /27.
  validation {
    condition     = !var.load_balancer || try(tonumber(split("/", var.vpc_cidr)[1]) <= 26, true)
    error_message = "load_balancer needs a vpc_cidr of /26 or larger: AWS requires subnets of at least /27, and there are two."
  }
}

variable "certificate_arn" {
  description = "ARN of the load balancer's certificate in ACM in the same region."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null || can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[a-z0-9-]+$", var.certificate_arn))
    error_message = "certificate_arn must be the ARN of a certificate in ACM: arn:aws:acm:<region>:<account>:certificate/<id>."
  }
}

variable "parked" {
  description = "Whether to remove everything that is billed by the hour (hosts, addresses, load balancer). The data volumes and the backups stay."
  type        = bool
  default     = false
  nullable    = false
}

variable "delete_data" {
  description = "Whether `terraform destroy` may delete the data volumes and the backups. With false, it fails."
  type        = bool
  default     = false
  nullable    = false
}
