"""The record of a study: every number and sentence of the report, as plain JSON.

Covers: segments, features, verdict, choice of k, scheme and preparation, put together from
what was counted. Does not cover: counting (`segments.profile`), naming (`segments.names`) or
drawing (`report`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from daskseg.formats import count, money, percent, significant
from daskseg.kernels.prepare import prepared_names
from daskseg.segments.model import Feature, SegmentModel
from daskseg.segments.names import SegmentName, effect_words
from daskseg.segments.profile import Profile, agreement_ari, median_scores
from daskseg.texts import text

FORMAT_VERSION = 1
# A minimum of history before marketing names are firm, as Klaviyo's RFM report asks for it.
MIN_BUYERS = 500
MIN_HISTORY_DAYS = 180
MAX_SILENT_DAYS = 30
# Segments whose median customer scores this low on recency count as at risk.
AT_RISK_SCORE = 2


@dataclass(frozen=True)
class Findings:
    """All that a fitted study knows, ready to be told.

    Attributes
    ----------
    model : SegmentModel
    profile : Profile
        In the order of the segments.
    names : sequence of SegmentName
    silhouettes, below_zero : sequence of float or None
        Mean silhouette and share of members below zero, per segment.
    quantiles, jaccards : sequence of (list of float, float) or None
        Silhouettes from the least to the largest, and how well a segment is found again; empty
        if unknown.
    choice : mapping
        k, mode, runner_up, reasons, grade, structure_note, knee, curve, chosen_inertia, moves,
        sample.
    data : mapping
        The data card: source, rows, customers, dates, snapshot, window, currency,
        money_decimals, value_feature.
    waterfall : sequence of mapping
    accounting : mapping or None
    notices : sequence of str
    title : str
    run : mapping
    value_decimals : int
        The totals of the profile count units of ``10**-value_decimals``.
    """

    model: SegmentModel
    profile: Profile
    names: Sequence[SegmentName]
    silhouettes: Sequence[float | None]
    below_zero: Sequence[float | None]
    choice: Mapping[str, Any]
    data: Mapping[str, Any]
    waterfall: Sequence[Mapping[str, Any]] = ()
    accounting: Mapping[str, Any] | None = None
    notices: Sequence[str] = ()
    title: str = ""
    run: Mapping[str, Any] = field(default_factory=dict)
    value_decimals: int = 0
    quantiles: Sequence[list[float] | None] = ()
    jaccards: Sequence[float | None] = ()


def _number(value: Any) -> float | None:
    """Return a float for JSON; None where there is no number."""
    number = float(value)
    return number if math.isfinite(number) else None


def _exact(units: int, decimals: int) -> float:
    """Return money in units as the nearest float: its text is the exact decimal number."""
    return float(int(units) / 10**decimals)


def feature_kind(feature: Feature) -> str:
    """Say which words compare values of a feature: see `names.effect_words`."""
    if feature.name == "recency_days":
        return "recency"
    if feature.money:
        return "money"
    kinds = {"days": "days", "orders": "count", "count": "count", "share": "share"}
    return kinds.get(feature.unit, "number")


def effects(profile: Profile) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return, per segment and feature, where its median lies: -1 lowest, 1 highest."""
    return 2.0 * profile.position - 1.0


class _Teller:
    """Turns findings into the parts of the record."""

    def __init__(self, found: Findings) -> None:
        self.found = found
        self.model = found.model
        self.profile = found.profile
        self.columns = {feature.name: i for i, feature in enumerate(self.model.features)}
        self.currency = found.data.get("currency")
        self.n_customers = int(self.profile.sizes.sum())

    def money(self, value: float) -> str:
        return money(value, self.currency)

    def total(self) -> int | None:
        return None if self.profile.totals is None else int(sum(self.profile.totals))

    def value_share(self, segment: int) -> float | None:
        total = self.total()
        if self.profile.totals is None or not total or min(self.profile.totals) < 0:
            return None
        return int(self.profile.totals[segment]) / total

    def most_concentrated(self) -> tuple[int, float | None]:
        """Return the segment whose share of the value exceeds its share of customers most."""
        shares = [self.value_share(segment) for segment in range(len(self.profile.sizes))]
        excess = [
            (0.0 if value is None else value) - int(size) / self.n_customers
            for value, size in zip(shares, self.profile.sizes, strict=True)
        ]
        top = excess.index(max(excess))
        return top, shares[top]

    def median(self, segment: int, name: str) -> float:
        return float(self.profile.quartiles[segment, self.columns[name], 1])

    def whole_median(self, name: str) -> float:
        return float(self.profile.whole_quartiles[self.columns[name], 1])

    def feature_rows(self, segment: int) -> list[dict[str, Any]]:
        rows = []
        effect_table = effects(self.profile)
        for column, feature in enumerate(self.model.features):
            low, middle, high = self.profile.quartiles[segment, column]
            whole = float(self.profile.whole_quartiles[column, 1])
            effect = float(effect_table[segment, column])
            ratio = middle / whole if whole > 0 and middle >= 0 else math.nan
            told = effect if math.isfinite(effect) else 0.0
            rows.append({
                "feature": feature.name,
                "median": _number(middle),
                "p25": _number(low),
                "p75": _number(high),
                "mean": _number(self.profile.means[segment, column]),
                "whole_median": _number(whole),
                "whole_mean": _number(self.profile.whole_means[column]),
                "ratio": _number(ratio),
                "effect": _number(effect),
                "words": effect_words(feature_kind(feature), told),
            })  # fmt: skip
        return rows

    def sentence(self, segment: int) -> str:
        if self.model.kind == "rfm":
            orders = self.median(segment, "n_orders")
            return text(
                "names.sentence.rfm_one" if orders == 1 else "names.sentence.rfm",
                recency=count(self.median(segment, "recency_days")),
                whole_recency=count(self.whole_median("recency_days")),
                orders=count(orders),
                whole_orders=count(self.whole_median("n_orders")),
                spend=self.money(self.median(segment, "spend_net")),
                whole_spend=self.money(self.whole_median("spend_net")),
            )
        row = np.abs(np.nan_to_num(effects(self.profile)[segment]))
        told = sorted(range(len(row)), key=lambda f: (-row[f], f))[:3]
        parts = [
            text(
                "names.sentence.feature",
                label=self.model.features[f].label,
                value=significant(self.profile.quartiles[segment, f, 1]),
                whole=significant(self.profile.whole_quartiles[f, 1]),
            )
            for f in told
        ]
        joined = "; ".join(parts)
        return f"{joined[:1].upper()}{joined[1:]}."

    def segment(self, segment: int) -> dict[str, Any]:
        named = self.found.names[segment]
        scheme = self.model.naming
        totals = self.profile.totals
        decimals = self.found.value_decimals
        rule = None if scheme is None or named.rule is None else scheme.entry(named.rule)
        advice = self.advice(segment, named)
        size = int(self.profile.sizes[segment])
        return {
            "segment_id": self.model.segment_ids[segment],
            "name": self.model.segment_names[segment],
            "name_kind": named.kind,
            "fit": named.fit,
            "lift": named.lift,
            "rule": named.rule,
            "rule_definition": rule.definition if rule is not None else None,
            "customers": size,
            "share": size / self.n_customers,
            "money": None if totals is None else _exact(totals[segment], decimals),
            "money_share": self.value_share(segment),
            "sentence": self.sentence(segment),
            "action": advice.get("action"),
            "channel": advice.get("channel"),
            "kpi": advice.get("kpi"),
            "silhouette": self.found.silhouettes[segment],
            "below_zero_share": self.found.below_zero[segment],
            "silhouette_quantiles": self.found.quantiles[segment] if self.found.quantiles else None,
            "jaccard": self.found.jaccards[segment] if self.found.jaccards else None,
            "features": self.feature_rows(segment),
        }

    def advice(self, segment: int, named: SegmentName) -> dict[str, str]:
        """Say what to do: by the segment's rule, else by that of its median customer."""
        scheme = self.model.naming
        if scheme is None:
            return {}
        if named.kind != "neutral" and named.rule is not None:
            rule = scheme.entry(named.rule)
            return {"action": rule.action, "channel": rule.channel, "kpi": rule.kpi}
        scores = (np.array([score]) for score in median_scores(self.model, self.profile, segment))
        rule = scheme.entry(str(scheme.name_of(*scores)[0]))
        action = text("names.sentence.neutral_action", rule=rule.name, action=rule.action)
        return {"action": action, "channel": rule.channel, "kpi": rule.kpi}

    def verdict(self) -> dict[str, Any]:
        k = len(self.model.grouping.centres)
        share = self.profile.sizes / self.n_customers
        top, value_share = self.most_concentrated()
        if k == 1:
            headline = text("names.verdict.headline_one", n=count(self.n_customers))
        elif value_share is not None:
            headline = text(
                "names.verdict.headline_value",
                k=k,
                share=percent(float(share[top])),
                value_share=percent(value_share),
                value=self.value_word(),
            )
        else:
            headline = text("names.verdict.headline_size", k=k, share=percent(float(share.max())))
        sentences = [*self.at_risk(), str(self.found.choice["structure_note"])]
        return {
            "headline": headline,
            "sentences": [sentence for sentence in sentences if sentence],
            "tentative": self.tentative(),
        }

    def value_word(self) -> str:
        if self.model.kind == "rfm":
            return text("names.verdict.value_rfm")
        name = self.found.data["value_feature"]
        return next(f.label for f in self.model.features if f.name == name)

    def at_risk(self) -> list[str]:
        cuts = self.model.cut_points
        if cuts is None or self.profile.totals is None:
            return []
        limit = sorted(cuts["recency_days"])[-AT_RISK_SCORE]
        members = [
            s for s in range(len(self.profile.sizes)) if self.median(s, "recency_days") >= limit
        ]
        if not members:
            return []
        decimals = self.found.value_decimals
        total = sum(int(self.profile.totals[s]) for s in members)
        n_members = int(sum(self.profile.sizes[s] for s in members))
        return [
            text(
                "names.verdict.at_risk",
                money=self.money(_exact(total, decimals)),
                n=count(n_members),
                share=percent(n_members / self.n_customers),
                days=count(min(self.median(s, "recency_days") for s in members)),
            )
        ]

    def tentative(self) -> list[str]:
        data = self.found.data
        if self.model.kind != "rfm" or not data.get("first_date"):
            return []
        first, last = date.fromisoformat(data["first_date"]), date.fromisoformat(data["last_date"])
        snapshot = date.fromisoformat(data["snapshot"])
        reasons = []
        if self.n_customers < MIN_BUYERS:
            reasons.append(text("names.verdict.history_buyers", n=count(self.n_customers)))
        if (last - first).days < MIN_HISTORY_DAYS:
            reasons.append(text("names.verdict.history_days", days=(last - first).days))
        if (snapshot - last).days > MAX_SILENT_DAYS:
            reasons.append(text("names.verdict.history_recent"))
        return [text("names.verdict.history", why="; ".join(reasons))] if reasons else []

    def scheme(self) -> dict[str, Any] | None:
        scheme, rules = self.model.naming, self.profile.rules
        if scheme is None or rules is None or self.model.cut_points is None:
            return None
        shares = rules / np.maximum(rules.sum(axis=1, keepdims=True), 1)
        whole = rules.sum(axis=0) / max(int(rules.sum()), 1)
        return {
            "name": scheme.name,
            "version": scheme.version,
            "names": list(scheme.names),
            "shares": {
                segment_id: {
                    name: float(share) for name, share in zip(scheme.names, row, strict=True)
                }
                for segment_id, row in zip(self.model.segment_ids, shares, strict=True)
            },
            "whole": {name: float(share) for name, share in zip(scheme.names, whole, strict=True)},
            "agreement_ari": agreement_ari(rules),
            "cut_points": self.model.cut_points,
            "rule": text("rfm.score_rule"),
        }

    def features(self) -> list[dict[str, Any]]:
        missing = self.profile.missing.sum(axis=0)
        return [
            {
                "name": feature.name,
                "label": feature.label,
                "unit": feature.unit,
                "role": feature.role,
                "definition": feature.definition,
                "decimals": feature.decimals,
                "higher_is_better": feature.higher_is_better,
                "missing": int(missing[column]),
                "money": feature.money,
            }
            for column, feature in enumerate(self.model.features)
        ]

    def prepare(self) -> list[dict[str, Any]]:
        steps = []
        for step in self.model.plan:
            record = step.to_dict()
            steps.append({
                "feature": record["feature"],
                "winsor": [record["low"], record["high"]],
                "clipped": record["clipped"],
                "transform": record["transform"],
                "scale": self.found.run["study"]["prepare"]["scale"],
                "center": record["center"],
                "spread": record["spread"],
                "missing_filled": record["missing"],
                "fill": record["fill"],
            })  # fmt: skip
        return steps

    def pca(self) -> dict[str, Any] | None:
        reduction = self.model.reduction
        return None if reduction is None else reduction.describe(prepared_names(self.model.plan))


def build_record(found: Findings) -> dict[str, Any]:
    """Build the record that report.json holds and that report.html draws.

    Parameters
    ----------
    found : Findings

    Returns
    -------
    dict
        Plain JSON without NaN. Money is a number whose text is the exact decimal amount.
    """
    teller = _Teller(found)
    k = len(found.model.segment_ids)
    return {
        "format_version": FORMAT_VERSION,
        "kind": found.model.kind,
        "title": found.title,
        "verdict": teller.verdict(),
        "data": dict(found.data),
        "waterfall": [dict(step) for step in found.waterfall],
        "accounting": None if found.accounting is None else dict(found.accounting),
        "segments": [teller.segment(segment) for segment in range(k)],
        "features": teller.features(),
        "choice": dict(found.choice),
        "scheme": teller.scheme(),
        "prepare": teller.prepare(),
        "pca": teller.pca(),
        "notices": list(found.notices),
        "run": dict(found.run),
    }


class ProfileRow(NamedTuple):
    """One line of profile.parquet; `segment_id` is "all" for all customers together."""

    segment_id: str
    feature: str
    unit: str
    statistic: str
    value: float


def profile_rows(profile: Profile, model: SegmentModel) -> list[ProfileRow]:
    """Return the profile as a long table."""
    rows = []
    for segment, segment_id in enumerate(model.segment_ids):
        size = float(profile.sizes[segment])
        rows.append(ProfileRow(segment_id, "customers", "customers", "count", size))
        for column, feature in enumerate(model.features):
            p25, median, p75 = profile.quartiles[segment, column]
            statistics = {
                "mean": profile.means[segment, column],
                "p25": p25,
                "median": median,
                "p75": p75,
                "missing": profile.missing[segment, column],
                "position": profile.position[segment, column],
            }
            rows += [
                ProfileRow(segment_id, feature.name, feature.unit, name, float(value))
                for name, value in statistics.items()
            ]
    rows.append(ProfileRow("all", "customers", "customers", "count", float(profile.sizes.sum())))
    for column, feature in enumerate(model.features):
        p25, median, p75 = profile.whole_quartiles[column]
        statistics = {
            "mean": profile.whole_means[column],
            "p25": p25,
            "median": median,
            "p75": p75,
            "missing": profile.missing[:, column].sum(),
        }
        rows += [
            ProfileRow("all", feature.name, feature.unit, name, float(value))
            for name, value in statistics.items()
        ]
    return rows
