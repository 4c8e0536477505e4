"""Data beyond the memory of the workers, and how time grows with rows and workers."""
