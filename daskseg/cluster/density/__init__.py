"""Clusters as regions where rows are dense, and noise between them."""
