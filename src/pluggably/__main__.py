"""The `pluggably` command, also as `python -m pluggably`: on the right allocator, and only then with what it needs."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Runs the command line; see `cli.main`."""
    if sys.argv[1:2] == ["serve"]:
        from pluggably.memory import choose_allocator

        choose_allocator()
    from pluggably.cli import main as run

    run()


if __name__ == "__main__":
    main()
