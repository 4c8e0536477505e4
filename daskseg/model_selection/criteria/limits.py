"""Where the criteria draw their lines: shared by the measurement, which stops early, and the rule.

Covers: the constants, with their sources or what they were measured on.
"""

from __future__ import annotations

# Hennig 2007: below 0.6 a cluster should not be trusted; from 0.75 it is a valid pattern.
REFOUND, VALID = 0.6, 0.75
# Arbitrary: planted clusters had 0.97 and more, cuts through long clouds often 0.9.
STABLE = 0.8
# Tibshirani and Walther 2005: 0.8 to 0.9.
STRENGTH = 0.8
# Of what rows without structure show at the same number of clusters. For two equal normal
# clusters this is 3.1 standard deviations between the centres. Measured on 72 sets without
# structure: the least ratio of each is 0.89 or more in 70 (docs/choosing-k.md).
BORDER = 0.6
# Arbitrary: fewer rows than this share are outliers to each other, not a kind of people.
SEGMENT_SHARE = 0.01
