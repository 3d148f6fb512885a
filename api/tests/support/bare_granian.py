"""Serve `bare` with the options that the API is served with."""

import os

from comentarios.serve import OPTIONS
from granian import Granian

Granian("bare:app", address=os.environ["HOST"], port=int(os.environ["PORT"]), **OPTIONS).serve()
