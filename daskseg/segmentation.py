"""The Python face: segments from a table of features, in memory or on dask.

Covers: `Segmentation` (fit, assign, profile, rename, report, save) and `load_model`.
Does not cover: whole studies from raw sources; see `daskseg.pipeline` and the command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from daskseg.config import Study
from daskseg.engine import passes
from daskseg.errors import SchemaMismatchError, UsageError
from daskseg.features.definitions import feature_records
from daskseg.features.scores import SCORED
from daskseg.features.tables import CustomerRows
from daskseg.inputs import as_blocks, as_frame
from daskseg.pipeline.fitting import fit_segments
from daskseg.pipeline.ingest import Ingested
from daskseg.pipeline.study import find, identify
from daskseg.preprocessing import Prepare
from daskseg.publish import check_target, replacing_directory
from daskseg.report import write_report
from daskseg.segments.model import MANIFEST, Feature, SegmentModel, read_model
from daskseg.segments.record import build_record, profile_rows
from daskseg.texts import text

if TYPE_CHECKING:
    from daskseg.pipeline.fitting import Fitted

VALUE_DECIMALS = 6


class Segmentation(BaseEstimator):
    """Segments of customers from a table with one row each.

    Parameters
    ----------
    model : {"kmeans", "minibatch", "bisecting", "mixture", "agglomerative", "consensus", \
"dbscan", "hdbscan"}
        Clustering method: exact k-means, k-means in one or two reads or by splits in two, normal
        distributions with soft membership, a tree of micro-clusters, what many runs agree on, or
        dense groups, whose number is found and the rest of which is S0.
    k : "auto" or int
        Number of segments; "auto" chooses among those of `k_range`, with reasons.
    prepare : Prepare, mapping or None
        How features are made comparable; None for the defaults of `Prepare`.
    random_state : int or None
        Seed; None is 0, so that equal data give equal bits.
    value : str or None
        Feature whose total orders the segments; for RFM features the net spend.
    passive : sequence of str
        Features that describe segments and do not form them. Of RFM features only recency,
        orders and net spend form segments.
    k_range : (int, int)
        Least and most segments that "auto" tries.
    min_share, max_share : float
        "auto" takes no number of segments whose smallest or largest has a smaller or larger share.
    min_customers : int
        Nor one whose smallest segment has fewer customers.
    eps : "auto" or float
        For "dbscan": the largest distance of customers that are near, in the units of `prepare`;
        "auto" takes the knee of the distances to near customers.
    min_samples : "auto" or int
        For "dbscan": fewest customers within `eps` of a core customer; "auto" is twice the columns.

    Attributes
    ----------
    names_ : dict of str to str
        Segment id (S1, S2, … by falling value, else size) to name.
    curve_ : pandas.DataFrame
        One row per k that was tried.
    reasons_ : list of str
        Why this k.
    record_ : dict
        Every number that the report shows.

    See Also
    --------
    daskseg.features.RFM : features from a ledger.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> visits = np.concatenate([rng.normal(5, 1, 50), rng.normal(50, 1, 50)])
    >>> table = pd.DataFrame({"visits": visits})
    >>> seg = Segmentation(k=2, value="visits").fit(table)
    >>> seg.names_["S1"]
    'Higher visits'
    >>> seg.assign(table)["segment_id"].value_counts().sort_index().to_dict()
    {'S1': 50, 'S2': 50}
    """

    def __init__(
        self,
        model: str = "kmeans",
        k: str | int = "auto",
        prepare: Prepare | Mapping[str, Any] | None = None,
        random_state: int | None = None,
        *,
        value: str | None = None,
        passive: Sequence[str] = (),
        k_range: tuple[int, int] = (2, 20),
        min_share: float = 0.01,
        max_share: float = 1.0,
        min_customers: int = 0,
        eps: str | float = "auto",
        min_samples: str | int = "auto",
    ) -> None:
        self.model = model
        self.k = k
        self.prepare = prepare
        self.random_state = random_state
        self.value = value
        self.passive = passive
        self.k_range = k_range
        self.min_share = min_share
        self.max_share = max_share
        self.min_customers = min_customers
        self.eps = eps
        self.min_samples = min_samples

    def fit(self, X: Any, y: None = None) -> Self:
        """Fit, profile and name segments; eager.

        Parameters
        ----------
        X : array, frame, dask collection, or path of a feature store
            One row per customer. Columns named like RFM features (recency_days, n_orders,
            spend_net) make it an RFM study.

        Returns
        -------
        self
        """
        blocks = passes.measure(as_blocks(X, allow_missing=True))
        names = blocks.columns or tuple(f"x{i}" for i in range(blocks.n_features))
        if len(set(names)) < len(names):
            raise UsageError(f"the columns {list(names)} do not all have names of their own")
        blocks = replace(blocks, columns=names)
        kind = "rfm" if set(SCORED) <= set(names) else "segment"
        value = self.value or ("spend_net" if kind == "rfm" else None)
        if value is not None and value not in names:
            raise UsageError(f"value={value!r} is not among the columns {list(names)}")
        unknown = sorted(set(self.passive) - set(names))
        if unknown:
            raise UsageError(f"passive={unknown!r} are not among the columns {list(names)}")
        study = self._study(kind)
        features = _describe_features(names, kind, set(self.passive))
        fitted = fit_segments(blocks, features, study, value=value, value_decimals=VALUE_DECIMALS)
        ingested = _card(features, blocks.n_rows, value, kind)
        self._keep(identify(study, ingested, fitted), study, ingested)
        return self

    def _study(self, kind: str) -> Study:
        settings = self.prepare if self.prepare is not None else {}
        if isinstance(settings, Prepare):
            settings = settings.get_params()
        data = {"source": "features", "kind": kind}
        if kind == "segment":
            data["id"] = "customer_id"
        return Study.from_dict({
            "data": data,
            "prepare": dict(settings),
            "model": {
                "kind": self.model,
                "k": self.k,
                "k_range": self.k_range,
                "seed": self.random_state or 0,
                "min_share": self.min_share,
                "max_share": self.max_share,
                "min_customers": self.min_customers,
                "eps": self.eps,
                "min_samples": self.min_samples,
            },
        })  # fmt: skip

    def _keep(self, fitted: Fitted, study: Study, ingested: Ingested) -> None:
        self._fitted = fitted
        self._findings = find(study, ingested, fitted)
        self.model_ = fitted.model
        self.curve_ = fitted.curve
        self.reasons_ = list(fitted.choice["reasons"])
        self.record_ = build_record(self._findings)

    @property
    def names_(self) -> dict[str, str]:
        """Segment id to name."""
        check_is_fitted(self, "model_")
        return dict(zip(self.model_.segment_ids, self.model_.segment_names, strict=True))

    def assign(self, X: Any) -> Any:
        """Say which segment each customer belongs to.

        Parameters
        ----------
        X : array, frame or dask DataFrame
            With the active features in their units; an array has them in the order of the fit.

        Returns
        -------
        pandas.DataFrame, or a lazy dask DataFrame for dask input
            segment_id, segment_name, confidence, second_segment_id, distance, is_outlier and,
            for RFM features, rfm_code and rfm_name; the index of X.

        Raises
        ------
        SchemaMismatchError
            If a feature of the model is missing.
        """
        check_is_fitted(self, "model_")
        if hasattr(X, "map_partitions"):
            meta = _score_frame(X._meta_nonempty, self.model_).iloc[:0]
            return X.map_partitions(_score_frame, self.model_, meta=meta)
        return _score_frame(self._named(as_frame(X)), self.model_)

    def _named(self, X: Any) -> pd.DataFrame:
        """Give the columns of an array the names of the fit."""
        if isinstance(X, pd.DataFrame):
            return X
        names = [feature.name for feature in self.model_.features]
        values = np.asarray(X)
        if values.ndim != 2 or values.shape[1] != len(names):
            raise SchemaMismatchError(
                f"the array has the shape {values.shape}, but the model has the columns {names}."
            )
        return pd.DataFrame(values, columns=names)

    def profile(self) -> pd.DataFrame:
        """Return the profile as a long table: segment_id, feature, unit, statistic, value."""
        self._check_has_fit("profile")
        return pd.DataFrame(profile_rows(self._fitted.profile, self.model_))

    def rename(self, names: Mapping[str, str]) -> Self:
        """Give segments other names, by id; kept in the model, the report and assignments."""
        check_is_fitted(self, "model_")
        self.model_ = self.model_.renamed(names)
        if hasattr(self, "_fitted"):
            self._findings = replace(self._findings, model=self.model_)
            self.record_ = build_record(self._findings)
        return self

    def report(self, path: str | Path) -> Path:
        """Write the report as one HTML file that opens offline."""
        self._check_has_fit("report")
        write_report(self.record_, Path(path))
        return Path(path)

    def save(self, path: str | Path) -> Path:
        """Save the model into a directory: a manifest and plain arrays, no pickle.

        Raises
        ------
        UsageError
            If the directory holds anything but an earlier model.
        """
        check_is_fitted(self, "model_")
        target = Path(path)
        check_target(target, mark=MANIFEST, on_command_line=False)
        with replacing_directory(target) as work:
            self.model_.save(work)
        return target

    def _check_has_fit(self, what: str) -> None:
        check_is_fitted(self, "model_")
        if not hasattr(self, "_fitted"):
            raise UsageError(
                f"{what}() needs the fit: a model that was loaded scores customers, its study's "
                "directory holds the profile and the report."
            )


def load_model(path: str | Path) -> Segmentation:
    """Load a saved model, ready to `assign`.

    Parameters
    ----------
    path : str or Path
        A study's directory, its ``model/``, or what `Segmentation.save` wrote.

    Raises
    ------
    ArtifactError
        If it is not a model, is damaged, or has another format version.

    Examples
    --------
    >>> import tempfile
    >>> table = pd.DataFrame({"visits": [1.0, 2.0, 50.0, 51.0]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saved = Segmentation(k=2).fit(table).save(f"{folder}/model")
    ...     load_model(saved).assign(table)["segment_id"].nunique()
    2
    """
    loaded = Segmentation()
    loaded.model_ = read_model(Path(path))
    return loaded


def _score_frame(frame: pd.DataFrame, model: SegmentModel) -> pd.DataFrame:
    """Score one pandas frame."""
    columns = {str(name): frame[name].to_numpy() for name in frame.columns}
    scored = pd.DataFrame(model.score(columns), index=frame.index)
    text_columns = [name for name in scored if scored[name].dtype == object]
    return scored.astype(dict.fromkeys(text_columns, "str"))


def _describe_features(names: tuple[str, ...], kind: str, passive: set[str]) -> tuple[Feature, ...]:
    known = {}
    if kind == "rfm":
        records = feature_records(snapshot=text("names.the_snapshot"), money_decimals=2)
        known = {record["name"]: Feature(**record) for record in records}

    def describe(name: str) -> Feature:
        described = known.get(name) or Feature(
            name,
            name.replace("_", " "),
            "",
            "passive" if kind == "rfm" else "active",
            text("names.notice.column", name=name),
        )
        return replace(described, role="passive") if name in passive else described

    found = tuple(describe(name) for name in names)
    if not any(feature.role == "active" for feature in found):
        raise UsageError("every feature is passive: leave one that forms the segments")
    return found


def _card(features: tuple[Feature, ...], n_rows: int, value: str | None, kind: str) -> Ingested:
    names = tuple(feature.name for feature in features)
    return Ingested(
        table=CustomerRows((), (), names, ""),
        features=features,
        value=value,
        value_decimals=VALUE_DECIMALS,
        fingerprint="",
        data={
            "source": text("names.in_memory"),
            "rows": n_rows,
            "customers": n_rows,
            "first_date": None,
            "last_date": None,
            "snapshot": None,
            "window": None,
            "currency": None,
            "money_decimals": VALUE_DECIMALS,
            "value_feature": value,
        },
        definitions={"kind": kind},
    )


__all__ = ["Segmentation", "load_model"]
