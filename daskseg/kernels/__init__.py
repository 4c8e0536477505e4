"""Pure functions on one block, each with its merge, its finalisation and its scratch memory."""
