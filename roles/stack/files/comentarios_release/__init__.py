"""What carries out a release on the host: standard library of Python 3.11 or later only."""
