"""The engine: blocks of rows, the one door that computes, progress and accounts of passes."""
