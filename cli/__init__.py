"""The verbs of the Makefile. ``__main__`` calls them; each module has related verbs."""
