"""The same work done by several libraries, side by side in one run."""
