"""The study: everything that decides what is computed, in one checked record.

Covers: the schema of STUDY.yaml (the same for the command line and for Python), its defaults,
messages for wrong keys and values, and the part of it that decides the result.
Does not cover: whether the data fit the study (sources), or how it is run (pipeline).
See also: daskseg/templates for commented files, ``daskseg schema`` for editors.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    model_validator,
)

from daskseg.config.files import read_study
from daskseg.config.messages import explain, short
from daskseg.config.values import (
    MAX_CLUSTERS,
    MAX_SEED,
    read_columns_or_auto,
    read_date,
    read_delimiter,
    read_encoding,
    read_eps,
    read_k,
    read_k_range,
    read_min_samples,
    read_names,
    read_pca,
    read_source,
    read_window,
    unique_names,
)
from daskseg.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

# How the data reach us, and how the result is called: neither changes the result.
NOT_IDENTITY = {
    "data": (
        "source",
        "format",
        "encoding",
        "delimiter",
        "partitions",
        "columns",
        "preset",
        "date_format",
    ),
    "label": ("names",),
}
LEDGER_ONLY = (
    "columns",
    "preset",
    "date_format",
    "snapshot",
    "window",
    "returns",
    "duplicates",
    "non_products",
    "non_product_codes",
)
TABLE_ONLY = ("id", "value", "passive")
# Kinds of models that find the number of segments themselves.
OWN_NUMBER = ("dbscan", "hdbscan")


Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Names = Annotated[list[Text], WrapValidator(unique_names)]
Role = Literal[
    "customer_id",
    "order_id",
    "date",
    "quantity",
    "unit_price",
    "amount",
    "product",
    "currency",
    "description",
    "country",
]
LEDGER_ROLES: tuple[str, ...] = get_args(Role)


class _Section(BaseModel):
    # Strict: a study that says k: true or seed: "7" is a slip, not a number.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ProjectSection(_Section):
    """What the study is about. Nothing here changes the result."""

    name: Text = Field("study", description="Short name: of the model, and for the report's title.")
    currency: Annotated[str, StringConstraints(min_length=1, max_length=8)] | None = Field(
        None, description="Currency of the money columns, a code such as GBP. Shown, not converted."
    )


class DataSection(_Section):
    """Where the data are, how to read them, and what counts."""

    source: Annotated[str | list[str], BeforeValidator(read_source)] = Field(
        description="Path, glob or URL of the data, or a list of these (CSV, Parquet, NDJSON, "
        "Zarr). Relative paths start at the working directory, not at the study file."
    )
    kind: Literal["rfm", "segment"] = Field(
        "rfm",
        description="rfm: a ledger, one row per order line. segment: a table, one row per "
        "customer.",
    )
    format: Literal["csv", "parquet", "ndjson", "zarr"] | None = Field(
        None, description="Format of the data; null: told from the file names."
    )
    columns: dict[Role, Text] | None = Field(
        None,
        description="Ledger: role to header, e.g. {customer_id: Client}. Roles that are not "
        "named are looked up by the usual headers.",
    )
    preset: Text | None = Field(
        None, description="Ledger: name of a known set of headers, e.g. online_retail."
    )
    date_format: Text | None = Field(
        None, description="Ledger: format of text dates, e.g. %d/%m/%Y %H:%M; null: ISO 8601."
    )
    encoding: Annotated[str, BeforeValidator(read_encoding)] = Field(
        "utf-8", description="Text encoding of CSV files."
    )
    delimiter: Annotated[str | None, BeforeValidator(read_delimiter)] = Field(
        None, description="Column separator of CSV files: one character or tab; null: a comma."
    )
    id: Text | None = Field(None, description="Table: the column with one id per customer.")
    value: Text | None = Field(
        None, description="Table: the column whose total orders the segments; null: their size."
    )
    passive: Names = Field(
        default_factory=list,
        description="Table: columns that describe segments and do not form them.",
    )
    partitions: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Number of partitions to read; null: by size. Never changes the result."
    )
    snapshot: Annotated[dt.date | None, BeforeValidator(read_date)] = Field(
        None,
        description="Ledger: the day from which recency counts; null: the day after the last line.",
    )
    window: Annotated[str | None, BeforeValidator(read_window)] = Field(
        None,
        description="Ledger: only this long before the snapshot counts, e.g. 365d or 52w; null: "
        "all history.",
    )
    returns: Literal["net", "match", "drop", "keep"] = Field(
        "net",
        description="Ledger, returns: net (subtracted from spend, no order), match (cancel the "
        "earlier sale), drop (ignored), keep (count like any line).",
    )
    duplicates: Literal["keep", "drop"] = Field(
        "keep", description="Ledger: lines that equal another in every column."
    )
    non_products: Literal["keep", "drop"] = Field(
        "keep", description="Ledger: lines such as postage, fees and samples."
    )
    non_product_codes: Names | None = Field(
        None, description="Ledger: product codes that are not products; null: the shipped list."
    )

    @property
    def window_days(self) -> int | None:
        """Length of the window in days, or None for all history."""
        return None if self.window is None else int(self.window[:-1])

    @model_validator(mode="after")
    def _fits_kind(self) -> Self:
        foreign = TABLE_ONLY if self.kind == "rfm" else LEDGER_ONLY
        fields = type(self).model_fields
        for key in foreign:
            if getattr(self, key) != fields[key].get_default(call_default_factory=True):
                other = "segment" if self.kind == "rfm" else "rfm"
                raise ValueError(
                    f"{key!r} means nothing for kind {self.kind!r}: remove it, or set kind: {other}"
                )
        if self.kind == "segment" and self.id is None:
            raise ValueError("'id' is needed for kind 'segment': name the column of customer ids")
        if self.id is not None and self.id in (self.value, *self.passive):
            raise ValueError(f"{self.id!r} is the id and cannot be a feature as well")
        return self


class PrepareSection(_Section):
    """How features are made comparable before clustering."""

    winsor: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.005, description="Share of customers pulled in at each end of a feature; 0: none."
    )
    log1p: Annotated[Literal["auto"] | list[str], BeforeValidator(read_columns_or_auto)] = Field(
        "auto", description="Columns to take the signed log(1 + x) of; auto: the skewed ones."
    )
    scale: Literal["zscore", "minmax", "robust", "none"] = Field(
        "zscore", description="Scaling after the logarithm."
    )
    missing: Literal["median"] = Field("median", description="What fills missing values.")
    pca: Annotated[int | float | None, BeforeValidator(read_pca)] = Field(
        None,
        description="Principal components to group by: the share of the variance to keep, like "
        "0.9, or their number; null: the features themselves.",
    )


def _reachable_least(value: float, info: ValidationInfo) -> float:
    """Refuse a least share that the fewest segments cannot all have."""
    known = info.data
    if known.get("k") == "auto" and "k_range" in known and value * known["k_range"][0] > 1:
        low = known["k_range"][0]
        raise ValueError(
            f"must be at most {1 / low:.4g}: of {low} segments, the fewest that auto tries, one "
            "has no more. Lower it, or begin lower with k_range"
        )
    return value


def _reachable_most(value: float, info: ValidationInfo) -> float:
    """Refuse a largest share that the most segments cannot keep, or below the least."""
    known = info.data
    if known.get("k") == "auto" and "k_range" in known and value * known["k_range"][1] < 1:
        high = known["k_range"][1]
        raise ValueError(
            f"must be at least {1 / high:.4g}: of {high} segments, the most that auto tries, one "
            "has no less. Raise it, or end higher with k_range"
        )
    if value < known.get("min_share", 0):
        raise ValueError(f"must not be below min_share, which is {known['min_share']:g}")
    return value


class ModelSection(_Section):
    """How customers are grouped."""

    kind: Literal[
        "kmeans",
        "minibatch",
        "bisecting",
        "mixture",
        "agglomerative",
        "consensus",
        "dbscan",
        "hdbscan",
    ] = Field(
        "kmeans",
        description="Clustering method: kmeans (exact), minibatch (k-means in one or two reads), "
        "bisecting (k-means that splits parts in two), mixture (normal distributions, soft "
        "membership), agglomerative (a tree of micro-clusters, joined by Ward's rule), consensus "
        "(what many runs agree on), dbscan (groups that are dense at one distance) and hdbscan "
        "(groups of any density). The last two find the number themselves; the rest is S0.",
    )
    k: Annotated[Literal["auto"] | int, BeforeValidator(read_k)] = Field(
        "auto", description=f"Number of segments, 1 to {MAX_CLUSTERS}; auto: chosen, with reasons."
    )
    k_range: Annotated[tuple[int, int], BeforeValidator(read_k_range)] = Field(
        (2, 20), description="Smallest and largest number of segments that auto tries."
    )
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = Field(
        0, description="Seed of everything random. Same seed, same result."
    )
    min_share: Annotated[float, Field(ge=0, lt=0.5), AfterValidator(_reachable_least)] = Field(
        0.01, description="Auto does not choose a k whose smallest segment has a smaller share."
    )
    max_share: Annotated[float, Field(gt=0, le=1), AfterValidator(_reachable_most)] = Field(
        1.0, description="Nor one whose largest segment has a larger share."
    )
    min_customers: Annotated[int, Field(ge=0)] = Field(
        0, description="Nor one whose smallest segment has fewer customers."
    )
    eps: Annotated[Literal["auto"] | float, BeforeValidator(read_eps)] = Field(
        "auto",
        description="dbscan: largest distance of customers that are near, as prepared; auto: where "
        "the distances to near customers bend.",
    )
    min_samples: Annotated[Literal["auto"] | int, BeforeValidator(read_min_samples)] = Field(
        "auto",
        description="dbscan: fewest customers within eps of a core customer, itself included; "
        "auto: twice the columns, at least 4.",
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.kind in OWN_NUMBER and self.k != "auto":
            raise ValueError(
                f"'k' means nothing for kind {self.kind!r}, which finds the number itself: remove "
                "it, or set min_share, the least share of a segment"
            )
        for key in ("eps", "min_samples"):
            if self.kind != "dbscan" and getattr(self, key) != "auto":
                raise ValueError(
                    f"{key!r} means nothing for kind {self.kind!r}, only for dbscan: remove it, or "
                    "set kind to dbscan"
                )
        return self


class LabelSection(_Section):
    """How segments get their names."""

    scheme: Text = Field(
        "rfm11", description="Ledger: naming scheme, by name or as the path of a scheme file."
    )
    min_fit: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="Least share of a segment that a scheme's name must describe."
    )
    names: Annotated[dict[str, str], BeforeValidator(read_names)] = Field(
        default_factory=dict, description="Names of your own by segment id, e.g. {S4: Win-back}."
    )


class ReportSection(_Section):
    """How the report looks. Nothing here changes the result."""

    title: Text | None = Field(None, description="Title of the report; null: from the project.")
    map: Literal["umap", "tsne"] | None = Field(
        None,
        description="Map of the customers in the report: umap or tsne (extra maps); null: none.",
    )


class Study(_Section):
    """A whole study, checked, with every default filled in.

    Build it with `from_yaml` or `from_dict`; both explain what is wrong in words.

    Examples
    --------
    >>> study = Study.from_dict({"data": {"source": "ledger.csv", "window": "52w"}})
    >>> study.data.window, study.model.k
    ('364d', 'auto')
    >>> Study.from_dict({"data": {"source": "ledger.csv", "windw": "52w"}})
    Traceback (most recent call last):
    daskseg.errors.UsageError: the study: unknown key 'data.windw'. Did you mean 'window'? ...
    """

    project: ProjectSection = Field(default_factory=ProjectSection)
    data: DataSection
    prepare: PrepareSection = Field(default_factory=PrepareSection)
    model: ModelSection = Field(default_factory=ModelSection)
    label: LabelSection = Field(default_factory=LabelSection)
    report: ReportSection = Field(default_factory=ReportSection)

    @classmethod
    def from_dict(
        cls,
        values: Mapping[str, Any],
        *,
        origin: str = "the study",
        spelled: Mapping[str, str] | None = None,
    ) -> Study:
        """Check a study given as nested mappings.

        Parameters
        ----------
        values : mapping
            Sections and keys as in STUDY.yaml. An empty section (None) means its defaults.
        origin : str
            Where the values come from; messages begin with it, unless it is empty.
        spelled : mapping of str to str, optional
            What the user wrote for a key path, e.g. ``{"model.k": "--k"}``.

        Raises
        ------
        UsageError
            Unknown keys and wrong values, all of them in one message.
        """
        lead = f"{origin}: " if origin else ""
        if not isinstance(values, Mapping):
            raise UsageError(
                f"{lead}found {short(values)} where the sections "
                f"{', '.join(cls.model_fields)} are expected."
            )
        given = {key: {} if part is None else part for key, part in values.items()}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            lines = [
                explain(cls, cast("dict[str, Any]", one), spelled or {})
                for one in error.errors(include_url=False)
            ]
        if len(lines) == 1:
            raise UsageError(f"{lead}{lines[0]}")
        raise UsageError(f"{lead}{len(lines)} errors:\n  - " + "\n  - ".join(lines))

    @classmethod
    def from_yaml(cls, path: str | Path) -> Study:
        """Read and check a study file (YAML, or JSON, which is YAML too), or a run.json.

        Raises
        ------
        UsageError
            The file is missing or is not YAML, a key stands twice, or `from_dict` objects.
        """
        return cls.from_dict(read_study(path), origin=str(path))

    def to_dict(self) -> dict[str, Any]:
        """Return the study as plain JSON values, with every default filled in."""
        return self.model_dump(mode="json")

    @classmethod
    def schema(cls) -> dict[str, Any]:  # type: ignore[override]  # pydantic's is deprecated
        """Return the JSON Schema of STUDY.yaml, for editors and for tests."""
        schema = cls.model_json_schema()
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **schema,
            "title": "daskseg study",
            "description": "A customer segmentation study; see daskseg init for commented files.",
        }

    def identity(self) -> dict[str, Any]:
        """Return the part of the study that decides the result.

        Left out: where the data come from and how they are read (the data's fingerprint stands
        for that), the project, names given by hand, and the report.
        """
        values = self.to_dict()
        del values["project"], values["report"]
        for section, keys in NOT_IDENTITY.items():
            for key in keys:
                del values[section][key]
        return values
