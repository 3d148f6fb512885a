"""The files of `terraform test`, by folder."""

FILES = {"bootstrap": ("bootstrap", "variables"), "host": ("host", "two_hosts", "variables")}
