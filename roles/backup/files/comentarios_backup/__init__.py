"""Makes, verifies, lists and restores backups of the comments, on the host."""
