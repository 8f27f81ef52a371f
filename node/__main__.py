"""``python -m node``: the same as ``radnode``."""

from node.cli import main

if __name__ == "__main__":
    main()
