"""``python -m reidhub`` is the command ``reidhub``."""

from reidhub.cli import main

if __name__ == "__main__":
    main()
