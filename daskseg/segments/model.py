"""The artefact of a study: everything that scores a customer, in JSON and plain arrays.

Covers: saving and loading without pickle, scoring rows in memory, and a description for
people. Does not cover: reading sources (see `pipeline`) or fitting.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskseg.errors import ArtifactError, SchemaMismatchError, UsageError
from daskseg.features.schemes import Scheme, SchemeEntry
from daskseg.features.scores import SCORED, rfm_codes, score_values
from daskseg.kernels.prepare import FeaturePlan, prepared_names, restore_block
from daskseg.kernels.projection import unproject_block
from daskseg.segments.grouping import Grouped, Grouping
from daskseg.segments.kinds import KINDS
from daskseg.segments.reduction import Reduction, comparable

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
NOISE_ID = "S0"
REDUCTION_ARRAYS = ("component_mean", "components")


@dataclass(frozen=True)
class Feature:
    """One feature as the model knows it.

    Attributes
    ----------
    name, label, unit, definition : str
    role : {"active", "passive"}
        Active features decide the segment; passive ones are only described.
    decimals : int
        For display.
    higher_is_better : bool or None
    money : bool
    """

    name: str
    label: str
    unit: str
    role: str
    definition: str
    decimals: int = 2
    higher_is_better: bool | None = None
    money: bool = False


def scheme_record(scheme: Scheme) -> dict[str, Any]:
    """Return a naming scheme as plain JSON."""
    return {
        "name": scheme.name,
        "version": scheme.version,
        "title": scheme.title,
        "entries": [asdict(entry) for entry in scheme.entries],
        "cells": scheme.cells.tolist(),
    }


def scores_of(
    columns: Mapping[str, NDArray[Any]], cut_points: Mapping[str, Sequence[float]]
) -> tuple[NDArray[np.int8], NDArray[np.int8], NDArray[np.int8]]:
    """Score recency, orders and spend of customers by stored cut points."""
    r, f, m = (
        score_values(np.asarray(columns[name], dtype=np.float64), cut_points[name], better)
        for name, better in SCORED.items()
    )
    return r, f, m


# Arrays have no single truth value: two models are compared by what they save.
@dataclass(frozen=True, eq=False)
class SegmentModel:
    """Segments that can score customers.

    Attributes
    ----------
    kind : {"rfm", "segment"}
    features : tuple of Feature
        All of them, in the order of the feature table.
    plan : tuple of FeaturePlan
        How the active features are prepared, in their order.
    grouping : Grouping
        In prepared units, or along the components of `reduction`; group 0 is S1.
    outlier_dist : ndarray of shape (n_segments,), float64
        The 99.5 % quantile of the distances of the members at fit.
    segment_names : tuple of str
        With that of the noise as the last, where the grouping knows noise.
    definitions : dict
        What made the features: for a ledger the cleaning rules and the window.
    scheme : dict or None
        The naming scheme of an RFM study, as data.
    cut_points : dict of str to list of float, or None
    identity : dict
        name, version, run_id, fingerprint, snapshot, seed, versions.
    reduction : Reduction or None
        The principal components between preparation and centres.
    """

    kind: str
    features: tuple[Feature, ...]
    plan: tuple[FeaturePlan, ...]
    grouping: Grouping
    outlier_dist: NDArray[np.float64]
    segment_names: tuple[str, ...]
    definitions: dict[str, Any] = field(default_factory=dict)
    scheme: dict[str, Any] | None = None
    cut_points: dict[str, list[float]] | None = None
    identity: dict[str, Any] = field(default_factory=dict)
    reduction: Reduction | None = None

    @property
    def segment_ids(self) -> tuple[str, ...]:
        """S1, S2, … in the order of the groups, and S0, the noise, where there may be any."""
        numbered = tuple(f"S{number}" for number in range(1, len(self.grouping.centres) + 1))
        return (*numbered, NOISE_ID) if self.grouping.has_noise else numbered

    @cached_property
    def active(self) -> tuple[str, ...]:
        """Names of the features that decide the segment."""
        return tuple(feature.name for feature in self.features if feature.role == "active")

    @cached_property
    def naming(self) -> Scheme | None:
        """The naming scheme of an RFM study."""
        if self.scheme is None:
            return None
        return Scheme(
            name=self.scheme["name"],
            version=self.scheme["version"],
            title=self.scheme["title"],
            entries=tuple(SchemeEntry(**entry) for entry in self.scheme["entries"]),
            cells=np.array(self.scheme["cells"], dtype=np.int8),
        )

    def group(self, active_values: NDArray[Any]) -> Grouped:
        """Group rows given in the units of the features.

        Parameters
        ----------
        active_values : ndarray of shape (n_rows, n_active)
            In the order of `active`; NaN marks a missing value.
        """
        return self.grouping.of(comparable(active_values, self.plan, self.reduction))

    def centres_in_units(self) -> NDArray[np.float64]:
        """Return the centres in the units of the active features."""
        prepared = self.grouping.centres
        if self.reduction is not None:
            prepared = unproject_block(prepared, self.reduction.projection)
        return restore_block(prepared, self.plan)

    def score(self, columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Score customers.

        Parameters
        ----------
        columns : mapping of str to ndarray of shape (n_rows,)
            At least the active features, in their units.

        Returns
        -------
        dict of str to ndarray of shape (n_rows,)
            segment_id, segment_name, confidence, second_segment_id, distance, is_outlier and,
            with a naming scheme, rfm_code and rfm_name.

        Raises
        ------
        SchemaMismatchError
            If an active feature is missing, infinite or not made of numbers.
        """
        values = self.active_values(columns)
        found = self.group(values)
        # Noise is -1: the last of the ids and names.
        ids = np.array(self.segment_ids, dtype=object)
        seconds = np.array([*self.segment_ids, None], dtype=object)
        result: dict[str, NDArray[Any]] = {
            "segment_id": ids[found.first],
            "segment_name": np.array(self.segment_names, dtype=object)[found.first],
            "confidence": found.confidence,
            "second_segment_id": seconds[found.second],
            "distance": found.distance,
            "is_outlier": (found.first < 0) | (found.distance > self.outlier_dist[found.first]),
        }
        if self.naming is not None and self.cut_points is not None:
            r, f, m = scores_of(columns, self.cut_points)
            result["rfm_code"] = rfm_codes(r, f, m)
            result["rfm_name"] = self.naming.name_of(r, f, m)
        return result

    def active_values(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Stack the active features, after checking that they are there."""
        missing = [name for name in self.active if name not in columns]
        if missing:
            raise SchemaMismatchError(
                f"the model needs the features {list(self.active)}, but {missing} are not among "
                f"the columns {list(columns)}."
            )
        stacked = np.column_stack([_as_floats(name, columns[name]) for name in self.active])
        if np.isinf(stacked).any():
            row, column = np.argwhere(np.isinf(stacked))[0]
            raise SchemaMismatchError(
                f"feature {self.active[column]!r} is infinite in row {row}: give a number or a "
                "missing value."
            )
        return stacked

    def renamed(self, names: Mapping[str, str]) -> Self:
        """Return the model with other names for some segments."""
        unknown = sorted(set(names) - set(self.segment_ids))
        if unknown:
            raise UsageError(
                f"there is no segment {', '.join(unknown)}: the segments are "
                f"{', '.join(self.segment_ids)}. Name these."
            )
        pairs = zip(self.segment_ids, self.segment_names, strict=True)
        return replace(self, segment_names=tuple(names.get(i, name) for i, name in pairs))

    def save(self, path: Path) -> None:
        """Write manifest.json and one .npy file per array into a directory that exists."""
        arrays = {**self.grouping.arrays(), "outlier_dist": self.outlier_dist}
        pca = None
        if self.reduction is not None:
            pca = {"asked": self.reduction.asked, "shares": list(self.reduction.shares)}
            pair = (self.reduction.mean, self.reduction.components)
            arrays.update(zip(REDUCTION_ARRAYS, pair, strict=True))
        manifest = {
            "format": "daskseg segment model",
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "grouping": {"kind": self.grouping.kind, **self.grouping.settings()},
            "features": [asdict(feature) for feature in self.features],
            "plan": [step.to_dict() for step in self.plan],
            "pca": pca,
            "segment_names": dict(zip(self.segment_ids, self.segment_names, strict=True)),
            "definitions": self.definitions,
            "scheme": self.scheme,
            "cut_points": self.cut_points,
            "identity": self.identity,
            "arrays": {name: f"{name}.npy" for name in arrays},
        }
        text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
        (path / MANIFEST).write_text(text + "\n", encoding="utf-8")
        for name, values in arrays.items():
            np.save(path / f"{name}.npy", values, allow_pickle=False)


def _as_floats(name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SchemaMismatchError(
            f"feature {name!r} must be numbers with NaN for missing values: {error}"
        ) from error


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    if not file.is_file():
        if not path.exists():
            raise ArtifactError(f"{path} is not a daskseg model: there is no such directory.")
        raise ArtifactError(f"{path} is not a daskseg model: it has no {MANIFEST}.")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtifactError(
            f"{file} is damaged, it is no JSON: {error}. Copy the model again, or fit again."
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != "daskseg segment model":
        raise ArtifactError(f"{file} is not the manifest of a daskseg model")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise ArtifactError(
            f"{file} has format_version {manifest.get('format_version')}, this release reads "
            f"{FORMAT_VERSION}. Load it with the daskseg release that wrote it, or fit again."
        )
    return manifest


def read_model(path: Path) -> SegmentModel:
    """Read a saved model.

    Parameters
    ----------
    path : Path
        The directory of the model, or of the study that it belongs to.

    Raises
    ------
    ArtifactError
        If the directory is not a model, is damaged, or has another format version.
    """
    inner = path / "model"
    if not (path / MANIFEST).is_file() and (inner / MANIFEST).is_file():
        path = inner
    manifest = _read_manifest(path)
    try:
        model = SegmentModel(
            kind=manifest["kind"],
            features=tuple(Feature(**record) for record in manifest["features"]),
            plan=tuple(FeaturePlan.from_dict(record) for record in manifest["plan"]),
            segment_names=tuple(manifest["segment_names"].values()),
            definitions=manifest["definitions"],
            scheme=manifest["scheme"],
            cut_points=manifest["cut_points"],
            identity=manifest["identity"],
            reduction=_read_reduction(path, manifest.get("pca")),
            grouping=_read_grouping(path, manifest["grouping"]),
            outlier_dist=_load_array(path, "outlier_dist"),
        )
        _check_scoring(model)
    except (
        AttributeError, EOFError, IndexError, KeyError, OSError, TypeError, ValueError
    ) as error:  # fmt: skip
        raise ArtifactError(
            f"the model {path} is damaged: {type(error).__name__}: {error}. Copy it again, or fit "
            "again."
        ) from error
    _check_shapes(model, path)
    return model


def _load_array(path: Path, name: str) -> NDArray[Any]:
    return np.asarray(np.load(path / f"{name}.npy", allow_pickle=False))


def _read_grouping(path: Path, record: Mapping[str, Any]) -> Grouping:
    settings = {name: value for name, value in record.items() if name != "kind"}
    known = KINDS[record["kind"]]
    arrays = {name: _load_array(path, name) for name in known.array_names(settings)}
    return known.read(arrays, settings)


def _read_reduction(path: Path, record: dict[str, Any] | None) -> Reduction | None:
    if record is None:
        return None
    mean, components = (_load_array(path, name) for name in REDUCTION_ARRAYS)
    return Reduction(record["asked"], tuple(record["shares"]), mean, components)


def _check_shapes(model: SegmentModel, path: Path) -> None:
    k, width = len(model.segment_names), len(prepared_names(model.plan))
    n_groups, n_columns = k - model.grouping.has_noise, width
    found = {"outlier_dist": np.shape(model.outlier_dist)}
    wanted: dict[str, tuple[int, ...]] = {"outlier_dist": (k,)}
    if model.reduction is not None:
        n_columns = len(model.reduction.shares)
        wanted["component_mean"], wanted["components"] = (width,), (n_columns, width)
        pair = (model.reduction.mean, model.reduction.components)
        found.update(zip(REDUCTION_ARRAYS, map(np.shape, pair), strict=True))
    wanted.update(model.grouping.shapes(n_groups, n_columns))
    found.update({name: np.shape(array) for name, array in model.grouping.arrays().items()})
    for name, shape in wanted.items():
        if found[name] != shape:
            raise ArtifactError(
                f"{path} is damaged: {name} has the shape {found[name]}, but {k} "
                f"segment names and the plan ask for {shape}"
            )


def _check_scoring(model: SegmentModel) -> None:
    """Try what scores customers; raises as the reading of a damaged model does."""
    for name, array in model.grouping.arrays().items():
        allowed = ~np.isnan(array) if name in model.grouping.may_be_infinite else np.isfinite(array)
        if not allowed.all():
            raise ValueError(f"{name} holds values that are not finite")
    reduction = model.reduction
    if reduction is not None and not (
        np.isfinite(reduction.mean).all() and np.isfinite(reduction.components).all()
    ):
        raise ValueError("the components hold values that are not finite")
    if model.naming is not None and model.cut_points is not None:
        columns = {name: np.zeros(1) for name in SCORED}
        model.naming.name_of(*scores_of(columns, model.cut_points))


def describe_model(path: Path | str) -> dict[str, Any]:
    """Describe a saved model in plain JSON, for people and programs.

    Parameters
    ----------
    path : Path or str

    Returns
    -------
    dict
        kind, identity, features (with unit, role, definition and the range at fit), pca (the
        components with their shares of the variance and loadings, or None), segments
        (id, name, centre in the units of the features), definitions, scheme, cut_points.
    """
    model = read_model(Path(path))
    steps = {step.feature: step.to_dict() for step in model.plan}
    centres = model.centres_in_units()
    reduction = model.reduction
    return {
        "kind": model.kind,
        "grouping": model.grouping.kind,
        **model.identity,
        "features": [
            {**asdict(feature), "prepare": steps.get(feature.name)} for feature in model.features
        ],
        "pca": None if reduction is None else reduction.describe(prepared_names(model.plan)),
        "segments": [
            {
                "segment_id": segment_id,
                "name": name,
                "centre": None
                if segment_id == NOISE_ID
                else dict(zip(model.active, map(float, centres[place]), strict=True)),
            }
            for place, (segment_id, name) in enumerate(
                zip(model.segment_ids, model.segment_names, strict=True)
            )
        ],
        "definitions": model.definitions,
        "scheme": None if model.naming is None else model.naming.name,
        "cut_points": model.cut_points,
    }
