"""What the command line (cli/) and the sandbox (sandbox/) share. It imports neither of them."""
