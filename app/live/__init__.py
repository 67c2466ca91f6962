"""What processes tell each other while they live; all of it may be lost without losing work."""
