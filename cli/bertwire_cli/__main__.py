"""Runs the command `bertwire` as `python -m bertwire_cli`."""

from bertwire_cli.main import main

main()
