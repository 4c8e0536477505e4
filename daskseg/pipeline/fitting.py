"""From one row per customer to named segments.

Covers: prepare → components → choose k → fit → profile → name, over any blocks of features.
Does not cover: reading sources (`pipeline.ingest`), writing files (`pipeline.study`).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from daskseg.config import Study
from daskseg.engine import progress
from daskseg.engine.blocks import Blocks
from daskseg.errors import DasksegWarning, InputError, UsageError
from daskseg.features.schemes import Scheme, load_scheme
from daskseg.features.scores import SCORED, both_cut_ranks, cut_points
from daskseg.formats import count, percent, significant
from daskseg.kernels.prepare import prepared_names
from daskseg.metrics.quantiles import order_statistics
from daskseg.model_selection.detail import Detail, detail
from daskseg.model_selection.limits import BusinessLimits
from daskseg.model_selection.recommend import Recommendation
from daskseg.model_selection.sweep import Sweep, sweep
from daskseg.pipeline import structure
from daskseg.pipeline.models import OWN_NUMBER, FittedModel, fit_model, fit_with_own_number
from daskseg.pipeline.reduction import reduce_prepared
from daskseg.preprocessing import Prepare
from daskseg.segments import names as naming
from daskseg.segments.grouping import Grouping
from daskseg.segments.model import Feature, SegmentModel, scheme_record
from daskseg.segments.moves import moves_record
from daskseg.segments.profile import (
    Clustering,
    Profile,
    median_scores,
    profile_segments,
    value_order,
)
from daskseg.segments.record import effects, feature_kind
from daskseg.segments.reduction import Reduction
from daskseg.texts import text


@dataclass(frozen=True)
class Fitted:
    """Segments of one study.

    Attributes
    ----------
    model : SegmentModel
        Without identity; `with_identity` fills it in.
    profile : Profile
    names : tuple of SegmentName
    silhouettes, below_zero : tuple of float or None
        Per segment.
    quantiles : tuple of (list of float or None)
        Per segment: its silhouettes, from the least to the largest.
    jaccards : tuple of float or None
        Per segment: how well it is found again.
    choice : dict
        As in the record.
    curve : pandas DataFrame
        curve.csv.
    notices : tuple of str
    facts : dict
        Of the fit: kind, inertia, n_passes, n_iter, stopped_by.
    """

    model: SegmentModel
    profile: Profile
    names: tuple[naming.SegmentName, ...]
    silhouettes: tuple[float | None, ...]
    below_zero: tuple[float | None, ...]
    quantiles: tuple[list[float] | None, ...]
    jaccards: tuple[float | None, ...]
    choice: dict[str, Any]
    curve: Any
    notices: tuple[str, ...]
    facts: dict[str, Any]

    def with_identity(self, identity: dict[str, Any], definitions: dict[str, Any]) -> Fitted:
        """Say whose model it is."""
        model = replace(self.model, identity=identity, definitions=definitions)
        return replace(self, model=model)


@dataclass(frozen=True)
class Chosen:
    """The number of segments, why, and the exact fit.

    Attributes
    ----------
    sweep : Sweep
    advice : Recommendation
    model : FittedModel
    detail : Detail or None
        Of a model whose groups are the rows nearest to its centres.
    """

    sweep: Sweep
    advice: Recommendation
    model: FittedModel
    detail: Detail | None

    @property
    def curve(self) -> pd.DataFrame:
        """One row per k that was tried."""
        return self.sweep.to_frame()

    def record(self, order: np.ndarray[Any, np.dtype[np.intp]]) -> dict[str, Any]:
        """Return the choice as the report's record holds it; `order` is that of the segments."""
        advice = self.advice
        looked = None if self.detail is None else self.detail.reordered(order)
        segment_ids = [f"S{place + 1}" for place in range(len(order))]
        return {
            "k": len(self.model.grouping.centres),
            "mode": advice.mode,
            "runner_up": advice.runner_up,
            "reasons": list(advice.reasons),
            # A number that was asked for is no advice: there is nothing to be confident in.
            "grade": advice.grade if advice.mode == "auto" else None,
            "structure_note": advice.structure_note,
            "knee": advice.knee,
            "natural_k": advice.natural_k,
            "coarser": advice.coarser,
            "finer": advice.finer,
            "votes": advice.votes,
            "curve": _points(self.curve),
            "chosen_inertia": self.model.facts["inertia"],
            "moves": {} if looked is None else moves_record(looked.moves, segment_ids),
            "sample": None
            if looked is None
            else {"rows": looked.n_rows, "is_whole": looked.is_whole},
        }


@dataclass(frozen=True)
class SelfChosen:
    """A model that has found the number of its segments, and what it says of them.

    Attributes
    ----------
    model : FittedModel
    detail : None
    sentences : tuple of str
    """

    model: FittedModel
    sentences: tuple[str, ...]
    detail: None = None

    @property
    def curve(self) -> pd.DataFrame:
        """One row: the scores of the groups, without noise, as far as they apply."""
        scores = self.model.scores
        assert scores is not None
        shares = scores.sizes / float(np.cumsum(scores.sizes)[-1])
        return pd.DataFrame({
            "k": [len(self.model.grouping.centres)],
            "inertia": [scores.inertia],
            "silhouette": [scores.silhouette],
            "smallest_share": [float(shares.min())],
            "largest_share": [float(shares.max())],
            "calinski_harabasz": [scores.calinski_harabasz],
            "davies_bouldin": [scores.davies_bouldin],
        })  # fmt: skip

    def record(self, order: np.ndarray[Any, np.dtype[np.intp]]) -> dict[str, Any]:
        """Return the choice as the report's record holds it."""
        return {
            "k": len(order),
            "mode": "found",
            "runner_up": None,
            "reasons": list(self.sentences),
            "grade": None,
            "structure_note": "",
            "knee": None,
            "natural_k": None,
            "coarser": None,
            "finer": None,
            "votes": {},
            "curve": _points(self.curve),
            "chosen_inertia": self.model.facts["inertia"],
            "moves": {},
            "sample": None,
        }


def _points(curve: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(key): _finite(value) if key != "k" else value for key, value in row.items()}
        for row in curve.to_dict("records")
    ]


def find_own(study: Study, prepared: Blocks) -> SelfChosen:
    """Fit a model that finds the number of its segments itself."""
    settings = study.model
    with progress.stage("fit"):
        model = fit_with_own_number(settings, prepared)
    facts, k = model.facts, len(model.grouping.centres)
    words = {"k": k, "noise": percent(facts["noise_share"]), "share": percent(settings.min_share)}
    if settings.kind == "hdbscan":
        sentences = [text("choice.density.found" if k > 1 else "choice.density.found_one", **words)]
        if prepared.n_rows > facts["n_landmarks"]:
            least = significant(min(facts["agreement"]), 2)
            n = count(facts["n_landmarks"])
            sentences.append(text("choice.density.agreement", least=least, n=n))
        return SelfChosen(model, tuple(sentences))
    words["eps"], words["n"] = significant(facts["eps"], 3), count(facts["min_samples"])
    sentences = [text("choice.density.linked" if k > 1 else "choice.density.linked_one", **words)]
    if facts["n_small"]:
        small = percent(facts["small_share"])
        sentences.append(text("choice.density.small", n=count(facts["n_small"]), share=small))
    if facts["suggested"]:
        looked, core = facts["suggested"]["n_places"], facts["suggested"]["core_share"]
        words = {"n": count(looked), "core": percent(core), "rank": count(facts["min_samples"])}
        sentences.append(text("choice.density.suggested", **words))
    return SelfChosen(model, tuple(sentences))


def choose(study: Study, prepared: Blocks) -> Chosen:
    """Try every k that the study allows, take one, and fit the model with it.

    Three passes for the sweep, a few for the exact fit, and two for its silhouettes.
    """
    settings = study.model
    low, high = settings.k_range
    required = settings.k if isinstance(settings.k, int) else None
    ks = range(low, min(high, prepared.n_rows) + 1) if required is None else [required]
    with progress.stage("choose-k"):
        found = sweep(prepared, ks, settings.seed)
        advice = found.recommend(_limits(study), required)
    with progress.stage("fit"):
        model = fit_model(settings.kind, advice.k, prepared, found)
        looked = None
        if model.clusters is not None:
            looked = detail(found, model.grouping.centres, model.clusters)
    return Chosen(found, advice, model, looked)


def _finite(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _take(blocks: Blocks, features: tuple[Feature, ...]) -> tuple[Blocks, tuple[int, ...]]:
    """Return the active columns of the feature table, and their positions."""
    positions = tuple(i for i, feature in enumerate(features) if feature.role == "active")
    return blocks.select([features[i].name for i in positions]), positions


def _cut_points(blocks: Blocks) -> dict[str, list[float]]:
    """Find the exact cut points of R, F and M. Two passes."""
    found, _ = order_statistics(blocks.select(tuple(SCORED)), both_cut_ranks)
    statistics = {name: values.tolist() for name, values in zip(SCORED, found, strict=True)}
    return {name: list(cuts) for name, cuts in cut_points(statistics).items()}


def _check_k(study: Study, n_customers: int) -> None:
    if n_customers < 2:
        raise InputError(
            "there is one customer only: segments need at least two. Check the id column."
        )
    k, (least, most) = study.model.k, study.model.k_range
    if isinstance(k, int) and k > n_customers:
        raise UsageError(
            f"k = {k} segments were asked for, but there are only {n_customers} customers. Ask "
            f"for at most {n_customers}, with --k or model.k."
        )
    if study.model.kind in OWN_NUMBER:
        return
    if k == "auto" and least > n_customers:
        raise UsageError(
            f"{least} segments at least were asked for, but there are only {n_customers} "
            "customers. Begin lower, with --k-range or model.k_range."
        )
    if k == "auto":
        _limits(study).check_reach(range(least, min(most, n_customers) + 1), n_customers)


def _limits(study: Study) -> BusinessLimits:
    settings = study.model
    return BusinessLimits(settings.min_share, settings.max_share, settings.min_customers)


def check_labels(study: Study) -> None:
    """Refuse a naming scheme, names or a map that cannot be had, before anything is read.

    Raises
    ------
    UsageError
    MissingExtraError
    """
    if study.data.kind == "rfm":
        load_scheme(study.label.scheme)
    if study.report.map is not None:
        structure.MAPS[study.report.map]().check_library()
    if study.model.kind in OWN_NUMBER:
        return
    k = study.model.k
    most = k if isinstance(k, int) else study.model.k_range[1]
    for segment_id in study.label.names:
        if int(segment_id[1:]) > most:
            raise UsageError(
                f"label.names names {segment_id}, but there will be at most {most} segments "
                f"(S1 to S{most})."
            )


def fit_segments(
    blocks: Blocks,
    features: tuple[Feature, ...],
    study: Study,
    *,
    value: str | None,
    value_decimals: int,
    scratch: Path | None = None,
) -> Fitted:
    """Fit, profile and name segments.

    Parameters
    ----------
    blocks : Blocks
        The feature table, all columns, in the order of `features`.
    features : tuple of Feature
    study : Study
        Its sections prepare, model and label are used.
    value : str or None
        The feature whose exact totals order the segments.
    value_decimals : int
    scratch : Path, optional
        Where projected rows may be kept; without it, passes project them anew.

    Returns
    -------
    Fitted
    """
    _check_k(study, blocks.n_rows)
    scheme = load_scheme(study.label.scheme) if study.data.kind == "rfm" else None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DasksegWarning)
        active, positions = _take(blocks, features)
        with progress.stage("prepare"):
            prepare = _prepare(study).fit(active)
            cuts = None if scheme is None else _cut_points(blocks)
        prepared, reduction = prepare.transform(active), None
        if study.prepare.pca is not None:
            with progress.stage("components"):
                prepared, reduction = reduce_prepared(
                    prepared, prepare.plan_, study.prepare.pca, scratch
                )
        finds_own = study.model.kind in OWN_NUMBER
        chosen = find_own(study, prepared) if finds_own else choose(study, prepared)
        grouping = chosen.model.grouping
        drawn = _drawn(study, chosen.model, prepared, prepared_names(prepare.plan_), reduction)
        clustering = Clustering(positions, prepare.plan_, grouping, reduction)
        with progress.stage("profile"):
            profile = profile_segments(
                blocks,
                clustering,
                value=None if value is None else [f.name for f in features].index(value),
                value_decimals=value_decimals,
                scheme=scheme,
                cut_points=cuts,
            )
    order = value_order(profile, len(grouping.centres))
    profile = profile.reordered(_with_noise(order, grouping))
    model = SegmentModel(
        kind=study.data.kind,
        features=features,
        plan=prepare.plan_,
        grouping=grouping.reordered(order),
        outlier_dist=profile.outlier_dist,
        segment_names=("",) * clustering.n_labels,
        scheme=None if scheme is None else scheme_record(scheme),
        cut_points=cuts,
        reduction=reduction,
    )
    names = _names(study, model, profile, scheme)
    looked = None if chosen.detail is None else chosen.detail.reordered(order)
    model = replace(model, segment_names=tuple(name.name for name in names))
    return Fitted(
        model=model.renamed(study.label.names),
        profile=profile,
        names=tuple(names),
        silhouettes=_of_segments(chosen.model.silhouettes[order], grouping),
        below_zero=_of_segments(chosen.model.below_zero[order], grouping),
        quantiles=() if looked is None else _quantiles(looked),
        jaccards=() if looked is None else tuple(_finite(value) for value in looked.jaccards),
        choice={**chosen.record(order), "structure": _structure(drawn, order)},
        curve=chosen.curve,
        notices=_notices(caught),
        facts={"kind": study.model.kind, **chosen.model.facts},
    )


def _drawn(
    study: Study,
    model: FittedModel,
    prepared: Blocks,
    columns: tuple[str, ...],
    reduction: Reduction | None,
) -> dict[str, Any]:
    """Return all that the model adds to the report."""
    drawn = dict(model.drawn)
    if model.grouping.has_noise:
        with progress.stage("noise"):
            drawn["noise"] = structure.noise(prepared, model.grouping, columns, reduction)
    if study.report.map is not None:
        with progress.stage("map"):
            drawn["map"] = structure.landmark_map(
                study.report.map, prepared, model.grouping, study.model.seed
            )
    return drawn


def _structure(drawn: dict[str, Any], order: NDArray[np.intp]) -> dict[str, Any] | None:
    """Say which segment each cluster of the model is."""
    if not drawn:
        return None
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    return {"segment_ids": [f"S{number + 1}" for number in place], **drawn}


def _with_noise(order: NDArray[np.intp], grouping: Grouping) -> NDArray[np.intp]:
    """Put the noise behind the groups, where there may be any."""
    return np.append(order, len(order)) if grouping.has_noise else order


def _of_segments(values: NDArray[np.float64], grouping: Grouping) -> tuple[float | None, ...]:
    noise = (None,) if grouping.has_noise else ()
    return (*(_finite(value) for value in values), *noise)


def _quantiles(looked: Detail) -> tuple[list[float] | None, ...]:
    return tuple(None if np.isnan(row).any() else row.tolist() for row in looked.quantiles)


def _notices(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    """Take our own warnings as notices; pass the others on."""
    own = []
    for warning in caught:
        if issubclass(warning.category, DasksegWarning):
            own.append(str(warning.message))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return tuple(own)


def _prepare(study: Study) -> Prepare:
    settings = study.prepare
    return Prepare(
        winsor=settings.winsor,
        log1p=settings.log1p,
        scale=settings.scale,
        missing=settings.missing,
    )


def _names(
    study: Study, model: SegmentModel, profile: Profile, scheme: Scheme | None
) -> list[naming.SegmentName]:
    features, k = model.features, len(model.grouping.centres)
    noise = [naming.SegmentName(text("names.noise"), "neutral")] if model.grouping.has_noise else []
    if scheme is not None and profile.rules is not None:
        neutral = [_band(model, profile, segment) for segment in range(k)]
        named = naming.name_by_rules(
            profile.rules[:k], scheme.names, neutral, min_fit=study.label.min_fit
        )
        return [*named, *noise]
    chosen = [i for i, feature in enumerate(features) if feature.role == "active"]
    named = naming.name_by_effects(
        effects(profile)[:k, chosen],
        [features[i].label for i in chosen],
        [feature_kind(features[i]) for i in chosen],
    )
    return [*named, *noise]


def _band(model: SegmentModel, profile: Profile, segment: int) -> str:
    """Describe a segment by the scores of its medians."""
    column = [feature.name for feature in model.features].index("n_orders")
    low, _, high = (float(value) for value in profile.quartiles[segment, column])
    return naming.band_words(median_scores(model, profile, segment), (low, high))
