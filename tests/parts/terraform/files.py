"""The files of `terraform test`, by folder, and which of them share an account."""

# Each line in an account of its own. The first takes no longer than the second, which waits for two hosts.
FILES: tuple[dict[str, tuple[str, ...]], ...] = (
    {"bootstrap": ("bootstrap", "variables"), "host": ("host", "variables")},
    {"host": ("two_hosts",)},
)
EVERY = [(part, name) for line in FILES for part, names in line.items() for name in names]
