"""The verbs of the Makefile: one module each for what has to be done, ``__main__`` for how they are called."""
