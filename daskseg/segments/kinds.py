"""All kinds of groupings by the names under which models are saved."""

from __future__ import annotations

from daskseg.segments.grouping import CentreGrouping, Grouping, MixtureGrouping, SplitGrouping
from daskseg.segments.points import (
    ConsensusGrouping,
    CoreGrouping,
    LandmarkGrouping,
    PlaceGrouping,
)

KINDS: dict[str, type[Grouping]] = {
    one.kind: one
    for one in (
        CentreGrouping,
        MixtureGrouping,
        SplitGrouping,
        PlaceGrouping,
        ConsensusGrouping,
        CoreGrouping,
        LandmarkGrouping,
    )
}
