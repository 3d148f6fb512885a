variable "name" {
  description = "Name of the bucket, unique in the world."
  type        = string
}

variable "expiration_days" {
  description = "Days after which objects are deleted, by how their keys begin; what is not named is kept for ever."
  type        = map(number)
  default     = {}
}

variable "noncurrent_days" {
  description = "Days that an overwritten or deleted object can be brought back."
  type        = number
}

variable "delete_contents" {
  description = "Whether destroying the bucket deletes what it holds. Otherwise S3 refuses to destroy a bucket that is not empty."
  type        = bool
}
