"""The sweep of 100 learning rates with other programs, each a script that is a whole command."""
