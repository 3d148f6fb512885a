"""The comments API: a Flask application over one small storage interface.

Imports nothing: the process that only watches over the server's worker needs little of it.
"""
