"""What a WSGI server loads: `cd api && gunicorn api:app`."""

import sys

from comentarios.app import create_app
from comentarios.config import ConfigError

try:
    app = create_app()
except ConfigError as error:
    sys.exit(f"comentarios: {error}")
