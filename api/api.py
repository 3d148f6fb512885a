"""What a WSGI server loads: `cd api && gunicorn api:app`."""

from comentarios.app import create_app

app = create_app()
