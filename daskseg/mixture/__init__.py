"""Mixtures of distributions over any number of rows."""

from daskseg.mixture.gaussian import GaussianMixture
from daskseg.mixture.memberships import bic_gain

__all__ = ["GaussianMixture", "bic_gain"]
