"""Serve `bare` with the API's server options."""

import os

from comentarios.serve import OPTIONS
from granian import Granian

Granian("bare:app", address=os.environ["HOST"], port=int(os.environ["PORT"]), **OPTIONS).serve()
