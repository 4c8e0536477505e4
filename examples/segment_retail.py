"""Who are the customers of this shop? From a ledger to named segments and a report.

Run it from the top of the checkout: ``python examples/segment_retail.py [OUT]``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from daskseg import Segmentation
from daskseg.features import RFM

LEDGER = Path(__file__).parent / "data" / "online_retail.parquet"


def main(out: Path) -> None:
    """Segment the ledger and write the report to a folder."""
    ledger = pd.read_parquet(LEDGER)

    # One row per customer: recency, orders, spend. Returns are netted against the sales.
    rfm = RFM(returns="net")
    customers = rfm.fit_transform(ledger)
    for sentence in rfm.explain():
        print(sentence)

    segmentation = Segmentation(model="kmeans", k="auto", random_state=0).fit(customers)
    print(segmentation.profile())

    out.mkdir(parents=True, exist_ok=True)
    segmentation.report(out / "report.html")
    segmentation.save(out / "model")
    print(f"wrote {out / 'report.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("out/segment_retail"))
