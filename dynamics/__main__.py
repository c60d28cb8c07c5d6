"""``python -m dynamics`` is the command."""

from dynamics.cli import main

if __name__ == "__main__":
    main()
