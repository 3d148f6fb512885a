"""Backups of the comments: made, verified, listed and restored, on the host."""
