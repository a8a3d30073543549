"""`python -m pluggably` is the `pluggably` command."""

from pluggably.cli import main

main()
