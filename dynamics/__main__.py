"""``python -m dynamics`` is the command."""

from dynamics.cli import main

main()
