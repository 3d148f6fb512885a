"""The files of `terraform test`, and which of them share an account."""

# Each line in an account of its own; what is on one line, one after the other.
FILES = (
    (("host", "host"),),
    (("host", "two_hosts"),),
    (("bootstrap", "bootstrap"), ("bootstrap", "variables"), ("host", "variables")),
)
