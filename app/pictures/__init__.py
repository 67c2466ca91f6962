"""Pictures as files: intermediate blobs, merging, reading, and the recipe inside."""
