"""``python -m app.cluster``."""

from app.cluster.cli import main

if __name__ == "__main__":
    main()
