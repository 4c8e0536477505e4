"""What the model of a study adds to the report: record in, small views and figures out.

Covers: trees, the matrix of a consensus, distances, reachability, memberships, what sets noise
apart, a map; each with the table behind it. Does not cover: the choice of k
(daskseg.report.evidence), markup (daskseg.report.model_block).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from bokeh.models import Model

from daskseg import formats
from daskseg.charts.agreement import matrix
from daskseg.charts.dendrogram import dendrogram
from daskseg.charts.distances import distance_figure
from daskseg.charts.maps import map_figure
from daskseg.charts.reachability import reachability_figure
from daskseg.report.figures import heat_figure
from daskseg.report.maps import HeatCell, HeatRow, HeatView
from daskseg.report.palette import NOISE_COLOUR, sequential
from daskseg.report.views import Record, SegmentKey, feature_labels, segment_keys
from daskseg.texts import text

__all__ = ["Part", "parts"]

# Arbitrary: rarer reasons are left to the table.
_TOLD = 0.1


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that the model adds.

    ``name`` is a table of the catalogue under ``report.structure``; ``figure`` is None where a
    table says it all; ``keys`` of ``rows`` are None for words of their own.
    """

    name: str
    said: tuple[str, ...]
    figure: Model | None
    header: tuple[str, ...]
    rows: tuple[tuple[SegmentKey | str, ...], ...]


def parts(record: Record) -> tuple[Part, ...]:
    """Return what the model of a study adds, in reading order; nothing for k-means."""
    found = record["choice"].get("structure") or {}
    if not found:
        return ()
    known = {key.id: key for key in segment_keys(record)}
    keys = [known[one] for one in found["segment_ids"]]
    noise = known.get("S0")
    made = [
        _PARTS[name](drawn, keys, noise, record) for name, drawn in found.items() if name in _PARTS
    ]
    order = list(_PARTS)
    return tuple(sorted(made, key=lambda part: order.index(part.name)))


Keys = Sequence[SegmentKey]


def _tree(drawn: Record, keys: Keys, noise: SegmentKey | None, record: Record) -> Part:
    del noise, record
    joins = np.array([[*join, 0.0] for join in drawn["joins"]])
    weights = np.array(drawn["weights"])
    figure = dendrogram(
        joins,
        weights,
        n_leaves=len(weights),
        cut=drawn["n_clusters"],
        names=[key.id for key in keys],
    )
    return Part(
        "tree",
        (),
        figure,
        _header("tree", "left", "right", "height"),
        tuple(
            (_list(left), _list(right), formats.significant(height))
            for left, right, height in _joins(drawn, keys)
        ),
    )


def _list(keys: Keys) -> str:
    return ", ".join(key.id for key in keys)


def _joins(drawn: Record, keys: Keys) -> list[tuple[list[SegmentKey], list[SegmentKey], float]]:
    """Return the joins of whole segments, the highest first."""
    n, n_clusters = len(drawn["weights"]), drawn["n_clusters"]
    ends = [tuple(int(end) for end in join[:2]) for join in drawn["joins"]]
    first_open = 2 * n - n_clusters
    inside: dict[int, list[SegmentKey]] = {}
    waiting = iter(keys)

    def collect(node: int) -> list[SegmentKey]:
        if node < first_open:
            return [next(waiting)]
        left, right = ends[node - n]
        # From left to right, as the segments are numbered.
        inside[left], inside[right] = collect(left), collect(right)
        return [*inside[left], *inside[right]]

    collect(2 * n - 2)
    return [
        (inside[ends[node - n][0]], inside[ends[node - n][1]], float(drawn["joins"][node - n][2]))
        for node in range(2 * n - 2, first_open - 1, -1)
        if node >= n
    ]


def _agreement(drawn: Record, keys: Keys, noise: SegmentKey | None, record: Record) -> Part:
    del noise, record
    said = text(f"report.structure.agreement.{'stable' if drawn['is_stable'] else 'unstable'}")
    return Part(
        "agreement",
        (said,),
        matrix(np.array(drawn["cells"]), np.array(drawn["clusters"])),
        _header("agreement", "segment", "within", "other"),
        tuple(
            (key, formats.percent(within), formats.percent(other))
            for key, within, other in zip(
                keys, drawn["within"], drawn["nearest_other"], strict=True
            )
        ),
    )


def _overlap(drawn: Record, keys: Keys, noise: SegmentKey | None, record: Record) -> Part:
    del noise, record
    names = ("core", "fringe", "ambiguous", "mean_membership")
    order = _by_number(keys)
    view = HeatView(
        tuple(keys[place] for place in order),
        tuple(
            HeatRow(
                text("report.size.label", id=keys[place].id, name=keys[place].name),
                tuple(
                    _overlap_cell(drawn["overlap"][place][other], keys[place], keys[other])
                    for other in order
                ),
            )
            for place in order
        ),
        len(keys),
    )
    return Part(
        "overlap",
        (),
        heat_figure(view, scale=sequential),
        (
            *_header("overlap", "segment", *names),
            *(text("report.structure.overlap.with", id=keys[place].id) for place in order),
        ),
        tuple(
            (
                keys[place],
                *(formats.percent(drawn[name][place]) for name in names),
                *(formats.percent(drawn["overlap"][place][other]) for other in order),
            )
            for place in order
        ),
    )


def _overlap_cell(share: float, key: SegmentKey, other: SegmentKey) -> HeatCell:
    words = formats.percent(share)
    said = text("report.structure.overlap.hover", share=words, id=key.id, other=other.id)
    return HeatCell(words, share, said)


def _by_number(keys: Keys) -> list[int]:
    """Return the places of the clusters in the order of their segments."""
    return sorted(range(len(keys)), key=lambda place: int(keys[place].id[1:]))


def _distances(drawn: Record, keys: Keys, noise: SegmentKey | None, record: Record) -> Part:
    del keys, noise, record
    curve = list(zip(drawn["shares"], drawn["values"], strict=True))
    told = sorted({*range(0, len(curve), max(1, len(curve) // 10)), drawn["knee"], len(curve) - 1})
    rank = text("report.structure.distances.rank", n=formats.count(drawn["min_samples"]))
    return Part(
        "distances",
        (rank,),
        distance_figure(drawn["values"], drawn["knee"], shares=drawn["shares"]),
        _header("distances", "share", "distance"),
        tuple(
            (formats.percent(curve[place][0]), formats.significant(curve[place][1]))
            for place in told
        ),
    )


def _reachability(drawn: Record, keys: Keys, noise: SegmentKey | None, record: Record) -> Part:
    del record
    groups = [*keys, noise] if noise else list(keys)
    # Noise is -1: the last.
    inks = [key.colour or NOISE_COLOUR for key in keys] + [NOISE_COLOUR]
    words = [key.name for key in groups]
    clusters, values = np.array(drawn["clusters"]), np.array(drawn["values"])
    rows = []
    for number in [*_by_number(keys), *([-1] if noise else [])]:
        key = groups[number]
        own = values[clusters == number]
        share = formats.percent(len(own) / len(values))
        median = formats.significant(float(np.median(own))) if len(own) else formats.missing()
        rows.append((key, share, median))
    return Part(
        "reachability",
        (text("report.structure.reachability.n", n=formats.count(drawn["n_landmarks"])),),
        reachability_figure(
            values,
            [inks[one] for one in drawn["clusters"]],
            [words[one] for one in drawn["clusters"]],
        ),
        _header("reachability", "segment", "share", "median"),
        tuple(rows),
    )


def _noise(drawn: Record, keys: Keys, noise: SegmentKey | None, record: Record) -> Part:
    del keys, noise
    labels = feature_labels(record)
    total = sum(drawn["lower"]) + sum(drawn["higher"])
    found = sorted(
        (
            (count, side, _label(column, labels))
            for side in ("higher", "lower")
            for column, count in zip(drawn["columns"], drawn[side], strict=True)
            if count
        ),
        key=lambda one: -one[0],
    )
    said = tuple(
        text(f"report.structure.noise.{side}", share=formats.percent(count / total), feature=label)
        for count, side, label in found
        if count >= _TOLD * total
    )
    return Part(
        "noise",
        said or (text("report.structure.noise.none"),),
        None,
        _header("noise", "feature", "side", "customers", "share"),
        tuple(
            (
                label,
                text(f"report.structure.noise.is_{side}"),
                formats.count(count),
                formats.percent(count / total),
            )
            for count, side, label in found
        ),
    )


def _label(column: str, labels: Mapping[str, str]) -> str:
    feature = column.removesuffix("_missing")
    if column not in labels and feature in labels:
        return text("report.components.missing", label=labels[feature])
    return labels.get(column, column)


def _map(drawn: Record, keys: Keys, noise: SegmentKey | None, record: Record) -> Part:
    del record
    groups = dict(enumerate(keys)) | ({-1: noise} if noise else {})
    clusters = np.array(drawn["clusters"])
    numbers = {
        name: formats.significant(drawn[name], 3)
        for name in ("trustworthiness", "continuity", "centroid_correlation")
    }
    said = [
        text(f"report.structure.map.{drawn['kind']}"),
        text("report.structure.map.quality", **numbers),
    ]
    return Part(
        "map",
        tuple(said),
        map_figure(
            np.array(drawn["places"]),
            clusters,
            names={number: key.id for number, key in groups.items()},
            colours={number: key.colour or NOISE_COLOUR for number, key in groups.items()},
        ),
        _header("map", "segment", "drawn"),
        tuple(
            (groups[number], formats.count(int((clusters == number).sum())))
            for number in [*_by_number(keys), *([-1] if noise else [])]
        ),
    )


def _header(part: str, *names: str) -> tuple[str, ...]:
    return tuple(text(f"report.structure.{part}.columns.{name}") for name in names)


_PARTS: dict[str, Callable[[Record, Keys, SegmentKey | None, Record], Part]] = {
    "map": _map,
    "noise": _noise,
    "overlap": _overlap,
    "tree": _tree,
    "agreement": _agreement,
    "reachability": _reachability,
    "distances": _distances,
}
