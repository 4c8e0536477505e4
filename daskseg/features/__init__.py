"""Features: one row per customer, from a ledger, with scores and naming schemes."""

from daskseg.features.rfm import RFM

__all__ = ["RFM"]
