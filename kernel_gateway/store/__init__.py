"""What lies on disk: event logs, blobs, and the folder of a run with its results."""
