"""From files to blocks of a table.

Covers: a path, a glob, a folder, a list or an object-store URL; CSV (also gzip, zstd, bz2, xz),
NDJSON and Parquet; errors that name the file, also when they appear inside a task.
CSV and NDJSON give text only: no type is guessed, so files never differ in their types.
Does not cover: the meaning of columns (`sources.columns`) and values (`sources.ledger`).
See also: `sources.plan` for the cutting of files into pieces, `sources.parse` for the pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dask
import dask.dataframe as dd
import pandas as pd

from daskseg.engine.blocks import FrameBlocks, Load
from daskseg.errors import UsageError
from daskseg.sources.parse import read_piece
from daskseg.sources.plan import Plan, plan_source

Source = str | Path | Sequence[str | Path]


def _empty_frame(plan: Plan) -> pd.DataFrame:
    frame: pd.DataFrame = plan.schema.empty_table().to_pandas()
    return frame


def open_frames(
    source: Source,
    *,
    format: str | None = None,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    partitions: int | None = None,
) -> dd.DataFrame:
    r"""Open files as one lazy dask DataFrame.

    Parameters
    ----------
    source : str, Path or sequence of these
        A file, a glob, a folder (all its files of one format), an object-store URL, or a list.
    format : {"csv", "parquet", "ndjson"}, optional
        Told from the file names by default.
    encoding : str
        Of CSV and NDJSON files.
    delimiter : str, optional
        Of CSV files: a comma by default, a tab for .tsv.
    partitions : int, optional
        Repartition to this many. Never changes a result.

    Returns
    -------
    dask.dataframe.DataFrame
        All columns of CSV and NDJSON are text; an empty field is missing, words such as "NA"
        stay as they are. Parquet keeps its types.

    Raises
    ------
    UsageError
        No such path, nothing fits a glob, or the format cannot be told.
    InputError
        A file is empty or not what its name says, the headers of files differ, a text cannot
        be decoded. Lines with too many or too few fields are found when they are read.

    Notes
    -----
    Reads the first 256 kB of each file (the footer of Parquet), nothing more. Text files above
    16 MB are cut at line ends; a quoted field with a line break that lies across a cut is
    refused when it is read. Compressed files are never cut: each must fit a task.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.csv").write_text("id,amount\n007,2.50\n")
    >>> open_frames(folder / "*.csv").compute().to_dict("list")
    {'id': ['007'], 'amount': ['2.50']}
    """
    if partitions is not None and partitions < 1:
        raise UsageError(f"partitions={partitions} must be at least 1.")
    plan = plan_source(source, format=format, encoding=encoding, delimiter=delimiter)
    # Text keeps pandas' own type: dask would put another one in its place.
    with dask.config.set({"dataframe.convert-string": False}):
        frame: dd.DataFrame = dd.from_map(
            read_piece, plan.pieces, meta=_empty_frame(plan), enforce_metadata=False
        )
    if partitions is not None and partitions != frame.npartitions:
        frame = frame.repartition(npartitions=partitions)
    return frame


def open_blocks(
    source: Source,
    *,
    format: str | None = None,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    partitions: int | None = None,
) -> tuple[FrameBlocks, tuple[str, ...]]:
    """Open files as blocks for the engine, with their sizes.

    Parameters and errors as for `open_frames`.

    Returns
    -------
    blocks : FrameBlocks
    columns : tuple of str
    """
    if partitions is not None:
        frame = open_frames(
            source, format=format, encoding=encoding, delimiter=delimiter, partitions=partitions
        )
        return FrameBlocks.from_dask(frame), tuple(map(str, frame.columns))
    plan = plan_source(source, format=format, encoding=encoding, delimiter=delimiter)
    loads = tuple(Load(read_piece, (piece,)) for piece in plan.pieces)
    sizes = tuple(piece.size_bytes for piece in plan.pieces)
    return FrameBlocks(loads, sizes), tuple(plan.schema.names)
