"""Super-resolution of finished cores."""
