"""Runs the command `bertwire` as `python -m bertwire_client`."""

from bertwire_client.cli import main

main()
