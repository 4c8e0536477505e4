"""k-means on growing batches: Lloyd's answer for little more than one read of the data.

Covers: a search on the first batch, and per larger batch a read, steps as long as what was kept
of it decides them, and a new start where the batch shows that the old one missed something.
Does not cover: which rows are in a batch (see `cluster.batches`).

Each batch holds those before it and each row counts once: its contribution is replaced when it
is read again. Such batches are those of Newling and Fleuret, Nested mini-batch k-means, NIPS
2016; they double theirs when the centres move by less than their standard errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskseg.cluster.batches import (
    BatchSource,
    First,
    batch_sizes,
    count_used,
    draw_for,
    read_first,
    runs_of,
    take_runs,
)
from daskseg.cluster.exact import RowsSource
from daskseg.cluster.lloyd import Outcome, iterate, sum_floats
from daskseg.cluster.margins import Margins
from daskseg.cluster.search import plus_plus_start, random_start, search
from daskseg.engine.blocks import Blocks, Rows
from daskseg.kernels import labels
from daskseg.kernels.sample import Sample

Floats = NDArray[np.float64]
# A new start costs a read, and must promise so much less squared error on a sample.
_WORTH_A_READ = 0.003
# Where a larger batch has this relative difference in mean squared error at most, it looks like
# the batch before it, and no better start is searched.
_ALIKE = 0.01
# Shares of the squared error. A step that took away less is the last one: on sets without
# clusters the hundreds of steps that are left gain 0.02 % together. A read for one must be
# worth more.
_WORTH_A_STEP, _WORTH_ANOTHER_READ = 1e-5, 1e-4


class Growth(NamedTuple):
    """What a fit asks for.

    Attributes
    ----------
    n_clusters : int
    init : {"coreset", "k-means++", "random"} or ndarray
    first_rows : int
    max_iter : int
    tol : float or None
        None stops where a step gains too little.
    seed : int
    local : bool
        Search in this process.
    """

    n_clusters: int
    init: str | Floats
    first_rows: int
    max_iter: int
    tol: float | None
    seed: int
    local: bool


@dataclass
class Grown:
    """Where the fit stands, and in the end.

    Attributes
    ----------
    outcome : Outcome
        Of all batches; each step of its history has the number of rows besides.
    source : RowsSource
        Of the last batch, which is all rows in the end.
    n_used : int
        Rows of the last batch whose weight is not zero.
    n_batches : int
    n_before : int
        Steps in the history of the last batch before its latest start.
    """

    outcome: Outcome
    source: RowsSource
    n_used: int
    n_batches: int = 1
    n_before: int = 0

    def iterate(
        self, plan: Growth, tol: float | None, n_later: int, *, may_read: bool = False
    ) -> None:
        """Take steps on the batch, and leave one to each later batch.

        Parameters
        ----------
        plan : Growth
        tol : float or None
            As for `lloyd.iterate`; None stops where a step gains too little.
        n_later : int
        may_read : bool
            Whether to read the batch again when what is in memory does not decide a step.
        """
        while True:
            n_left = max(0, plan.max_iter - self.outcome.n_iter - n_later)
            if tol is not None or n_left == 0:
                self._go_on(n_left, tol or 0.0, may_read=may_read)
                return
            self._go_on(1, 0.0, may_read=False)
            least = _WORTH_A_STEP
            if self.outcome.stopped_by == "max_passes":
                least = _WORTH_ANOTHER_READ
                if may_read and self._last_gain() > least:
                    self._go_on(1, 0.0, may_read=True)
            if self.outcome.stopped_by not in ("max_iter", "max_passes"):
                return
            if self._last_gain() <= least:
                self.outcome.stopped_by = "tol"
                return
            if self.outcome.stopped_by == "max_passes":
                return

    def restart(self, centres: Floats) -> None:
        """Go on from other centres."""
        self.outcome.centres, self.outcome.stopped_by = centres, "max_passes"
        n_rows = self.source.extent.n_rows
        self.n_before = sum(step["rows"] == n_rows for step in self.outcome.history)

    def _go_on(self, n_steps: int, tol: float, *, may_read: bool) -> None:
        total, source = self.outcome, self.source
        if isinstance(source, BatchSource):
            source.may_read = may_read
        some = iterate(source, total.centres, max_iter=n_steps, tol=tol)
        for record in some.history:
            step = {**record, "step": total.n_iter + int(record["step"])}
            total.history.append({**step, "rows": source.extent.n_rows})
        total.n_iter += some.n_iter
        total.centres, total.stopped_by = some.centres, some.stopped_by

    def _last_gain(self) -> float:
        """Return the share of the squared error that the last step but one took away.

        That of the last one shows in the next; a step from a new start has no gain yet.
        """
        last = [step for step in self.outcome.history if step["rows"] == self.source.extent.n_rows]
        last = last[self.n_before :]
        if len(last) < 2 or last[-1]["inertia"] == 0:
            return np.inf
        return 1.0 - last[-1]["inertia"] / last[-2]["inertia"]


def start_on(sample: Sample, plan: Growth) -> Floats:
    """Choose first centres on a sample; fewer if it has fewer distinct rows."""
    if not isinstance(plan.init, str):
        return plan.init
    if plan.init == "k-means++":
        return plus_plus_start(sample, plan.n_clusters, plan.seed)
    if plan.init == "random":
        return random_start(sample, plan.n_clusters, plan.seed)
    return search(sample, [plan.n_clusters], plan.seed, local=plan.local)[0].centres


def grow(blocks: Blocks, plan: Growth) -> Grown:
    """Fit on batches that grow to all rows.

    Parameters
    ----------
    blocks : Blocks
        Measured, of at least `n_clusters` rows.
    plan : Growth

    Notes
    -----
    One pass and the parts of passes that earlier batches are (whole blocks are read for rows
    in a store), and one for each time that the steps go further than the rows near a border,
    kept by the last read, can tell. Memory in this process: the first batch, a sample of
    100,000 rows (or 400 per cluster), and at most 512 MiB of rows near a border.
    """
    sizes = batch_sizes(blocks.n_rows, plan.first_rows)
    first = read_first(blocks, sizes[0], plan.n_clusters, plan.seed)
    margins = Margins(
        first.sample.values, first.sample.weights, blocks.n_rows, blocks.dtype.itemsize
    )
    n_used = count_used(Rows(first.values, 0, first.weights))
    grown = Grown(Outcome(start_on(first.sample, plan)), first.source(margins), n_used)
    noise = _noise(first, grown.outcome.centres)
    grown.iterate(plan, plan.tol if len(sizes) == 1 else noise, len(sizes) - 1)
    error = _mean_error(first.sample, grown.outcome.centres)
    for n_later, size in zip(range(len(sizes) - 2, -1, -1), sizes[1:], strict=True):
        taken = take_runs(blocks, runs_of(blocks.n_rows, size, plan.seed))
        n_rows = taken.blocks.n_rows
        draw = draw_for(first, grown.outcome.centres, n_rows, plan.n_clusters, plan.seed)
        batch = BatchSource(blocks, taken, grown.source.extent, margins, draw)
        grown.source = batch
        grown.n_batches += 1
        grown.n_before = 0
        tol = plan.tol if n_later == 0 else noise * len(first.values) / n_rows
        batch.look(grown.outcome.centres)
        grown.n_used = batch.n_used
        grown.iterate(plan, tol, n_later)
        error = _challenge(grown, batch, plan, error)
        if grown.outcome.stopped_by == "max_passes":
            grown.iterate(plan, tol, n_later, may_read=True)
    return grown


def _challenge(grown: Grown, batch: BatchSource, plan: Growth, before: float) -> float:
    """Start anew if the batch is unlike the one before and has better centres.

    Returns
    -------
    float
        Mean squared error of the centres on the sample of the batch.
    """
    if batch.sample is None:
        return before
    centres = grown.outcome.centres
    error = _mean_error(batch.sample, centres)
    is_short = len(centres) < plan.n_clusters
    is_alike = abs(error - before) <= _ALIKE * before
    is_searched = isinstance(plan.init, str) and plan.init == "coreset"
    if is_short or (is_searched and not is_alike):
        fresh = start_on(batch.sample, plan)
        promised = _mean_error(batch.sample, fresh)
        if len(fresh) > len(centres) or promised < (1.0 - _WORTH_A_READ) * error:
            centres, error = fresh, promised
    if len(centres) < plan.n_clusters and not batch.sample.is_whole:
        # All rows may have points that the sample has not; a step over them fills the repeats.
        missing = plan.n_clusters - len(centres)
        centres = np.concatenate([centres, np.tile(centres[:1], (missing, 1))])
    if centres is not grown.outcome.centres:
        grown.restart(centres)
    return error


def _mean_error(sample: Sample, centres: Floats) -> float:
    sq_dist = labels.nearest(sample.values, centres)[1]
    return sum_floats(sq_dist * sample.weights) / sum_floats(sample.weights)


def _noise(first: First, centres: Floats) -> float:
    """Return the squared standard errors of all centres, in mean variances of the features.

    A movement below it is one that as many other rows would make as well.
    """
    if first.scatter == 0:
        return 0.0
    found, sq_dist = labels.nearest(first.sample.values, centres)
    weights, k = first.sample.weights, len(centres)
    sizes = np.bincount(found, minlength=k)
    mass = np.bincount(found, weights, minlength=k)
    errors = np.bincount(found, weights * sq_dist, minlength=k)
    held = mass > 0
    total = sum_floats(errors[held] / mass[held] / sizes[held])
    return float(total * first.sample.values.shape[1] / first.scatter)
