variable "name" {
  description = "Name of the bucket, globally unique."
  type        = string
}

variable "expiration_days" {
  description = "Prefix of keys → days after which these objects are deleted. All others are kept."
  type        = map(number)
  default     = {}
}

variable "noncurrent_days" {
  description = "Days for which an overwritten or deleted object can be restored."
  type        = number
}

variable "delete_contents" {
  description = "Whether destroying the bucket also deletes its objects. Otherwise, S3 refuses if there are any."
  type        = bool
}
