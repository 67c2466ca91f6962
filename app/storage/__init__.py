"""Write-once blobs: the port and its adapters for memory, a folder and S3."""
