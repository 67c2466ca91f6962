"""Restoration and super-resolution of finished cores."""
