"""Measurements of daskseg beside its peers; see README.md in this folder."""
