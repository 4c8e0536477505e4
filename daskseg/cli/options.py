"""The options of the commands, each declared once.

Covers: names, help and metavars. Does not cover: what values are allowed; the study's schema
(daskseg.config) says that for options and study files alike, and names the option if it objects.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Ledger = Annotated[
    list[str],
    typer.Argument(
        metavar="LEDGER",
        help="Path, glob or URL of the ledger: one row per order line (CSV, Parquet, NDJSON).",
        show_default=False,
    ),
]
Table = Annotated[
    list[str],
    typer.Argument(
        metavar="TABLE",
        help="Path, glob or URL of a table with one row per customer (CSV, Parquet, NDJSON, Zarr).",
        show_default=False,
    ),
]
Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA",
        help="A ledger; with --id a table of customers; or a study file (.yaml, run.json).",
        show_default=False,
    ),
]
NewData = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA",
        help="A ledger or a table, as the model was made from; a table needs the same columns.",
        show_default=False,
    ),
]
StudyFile = Annotated[
    Path,
    typer.Argument(
        metavar="STUDY.yaml",
        help="The study, as 'daskseg init' writes it; or the run.json of one that was run.",
    ),
]
Model = Annotated[
    Path,
    typer.Argument(metavar="MODEL", help="A model directory, or the DIR of the study it is in."),
]
OutDir = Annotated[
    Path,
    typer.Option("--out", metavar="DIR", help="Where the study goes. It replaces an earlier one."),
]
OutFile = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="Parquet file to write.", show_default=False)
]

# What counts.
Snapshot = Annotated[
    str | None,
    typer.Option(
        metavar="DATE",
        help="Day from which recency counts, like 2026-01-31. Default: day after the last line.",
    ),
]
AssignSnapshot = Annotated[
    str | None,
    typer.Option(
        metavar="DATE",
        help="Day from which recency counts. Demanded if the model was made from a ledger.",
    ),
]
Window = Annotated[
    str | None,
    typer.Option(metavar="365d", help="Only this long before the snapshot. Default: all history."),
]
Returns = Annotated[
    str | None,
    typer.Option(
        metavar="net|match|drop|keep",
        help="net (default): subtracted from spend, no order. match: cancel the earlier sale. "
        "drop: ignored. keep: like any line.",
    ),
]
Duplicates = Annotated[
    str | None,
    typer.Option(metavar="keep|drop", help="Lines equal in every column. Default: keep."),
]
NonProducts = Annotated[
    str | None,
    typer.Option(metavar="keep|drop", help="Postage, fees, samples. Default: keep."),
]
Id = Annotated[
    str,
    typer.Option("--id", metavar="COLUMN", help="Column with one id per customer."),
]
CheckId = Annotated[
    str | None,
    typer.Option("--id", metavar="COLUMN", help="DATA is a table; this column holds the ids."),
]
Value = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN", help="Column whose total orders the segments. Default: their size."
    ),
]
Passive = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN",
        help="Column of numbers that describes segments and does not form them. Repeatable.",
    ),
]

# How the data are read.
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="ROLE=HEADER",
        help="Which column is what, e.g. customer_id=Client. Repeatable. Usual headers are found.",
    ),
]
Preset = Annotated[
    str | None, typer.Option(metavar="NAME", help="A known set of headers, e.g. online_retail.")
]
DateFormat = Annotated[
    str | None,
    typer.Option(metavar="FORMAT", help="Of text dates, e.g. '%d/%m/%Y %H:%M'. Default: ISO 8601."),
]
Encoding = Annotated[str | None, typer.Option(metavar="NAME", help="Of CSV files. Default: utf-8.")]
Delimiter = Annotated[
    str | None,
    typer.Option(metavar="CHAR", help="Of CSV files: one character or tab. Default: a comma."),
]
Format = Annotated[
    str | None,
    typer.Option(
        metavar="csv|parquet|ndjson|zarr", help="Default: told from the names of the files."
    ),
]
Partitions = Annotated[
    int | None,
    typer.Option(metavar="N", help="Pieces to read the data in. Never changes the result."),
]
Currency = Annotated[
    str | None, typer.Option(metavar="CODE", help="Of the money, e.g. GBP. Shown, not converted.")
]

# The model and the report.
K = Annotated[
    str | None,
    typer.Option("--k", metavar="auto|N", help="Number of segments. Default: auto, with reasons."),
]
KRange = Annotated[
    str | None,
    typer.Option("--k-range", metavar="A:B", help="What auto tries. Default: 2:20."),
]
MinShare = Annotated[
    float | None,
    typer.Option(
        "--min-share",
        metavar="SHARE",
        help="Auto takes no k whose smallest segment has a smaller share. Default: 0.01.",
    ),
]
MaxShare = Annotated[
    float | None,
    typer.Option(
        "--max-share",
        metavar="SHARE",
        help="Nor one whose largest segment has a larger share. Default: 1.",
    ),
]
MinCustomers = Annotated[
    int | None,
    typer.Option(
        "--min-customers",
        metavar="N",
        help="Nor one whose smallest segment has fewer customers. Default: 0.",
    ),
]
ModelKind = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="kmeans|minibatch|bisecting|mixture|agglomerative|consensus|dbscan|hdbscan",
        help="Clustering method. Default: kmeans.",
    ),
]
Pca = Annotated[
    str | None,
    typer.Option(
        "--pca",
        metavar="SHARE|N",
        help="Group by principal components: the share of variance to keep, like 0.9, or so many.",
    ),
]
Seed = Annotated[
    int | None, typer.Option(metavar="N", help="Same data and seed, same segments. Default: 0.")
]
SchemeName = Annotated[
    str | None,
    typer.Option("--scheme", metavar="NAME", help="Naming scheme, or its file. Default: rfm11."),
]
Map = Annotated[
    str | None,
    typer.Option(
        "--map", metavar="umap|tsne", help="Draw a map of the customers in the report (extra maps)."
    ),
]
Title = Annotated[str | None, typer.Option(metavar="TEXT", help="Title of the report.")]

# How the command behaves.
Force = Annotated[
    bool, typer.Option("--force", help="Replace what stands at --out even if it is not ours.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no summary on stderr.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more on stderr.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
