"""Who works on what next: the dispatcher and what it looks at."""
