"""gunicorn's configuration, read from its working directory: `cd api && gunicorn api:app`."""

import sys

from comentarios.config import ConfigError, Settings

try:
    Settings.from_env()
except ConfigError as error:
    # Here and not in the worker, which gunicorn would restart forever.
    sys.exit(f"comentarios: {error}")

# Threads, so that concurrent comments share a commit. One process, so that its counters are complete.
worker_class = "gthread"
workers = 1
threads = 32
bind = "127.0.0.1:8000"
