"""Run the command ``reidhub`` as ``python -m reidhub``."""

from reidhub.cli import main

if __name__ == "__main__":
    main()
