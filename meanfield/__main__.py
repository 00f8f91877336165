"""``python -m meanfield``, the command where it is not on the path."""

from meanfield.study.cli.app import main

if __name__ == "__main__":
    main()
