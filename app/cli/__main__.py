"""``python -m app.cli``: the ``tilechord`` command where its script is not installed."""

from app.cli import main

main()
