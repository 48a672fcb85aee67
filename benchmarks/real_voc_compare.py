"""WSGCN against the random walks it builds on, on real images: IRN, PSA, WSGCN-I, WSGCN-P, and the losses of the GCN.

    python -m benchmarks.real_voc_compare --data ../shared/data               # three seeds: hours on 2 cores
    python -m benchmarks.real_voc_compare --data ../shared/data --images 60 --seeds 0    # does it work?

Runs the comparison `benchmarks/real_voc_compare.yaml`, whose variants share every stage that they have in common (the
classifier among them), and writes means over the seeds. `--data` is as in `benchmarks.real_voc`, and so are the halves:
settings were tuned on `tuned_half`, and `other_half.*` is the honest one. Masks are read for scoring alone.

`margins.*` are differences of two methods in percentage points of mIoU, as measured, beside the paper's. `spread.*` is
the sample standard deviation over the seeds. A run that was interrupted goes on; `seconds.<variant>.<stage>` is of the
run that did the work, the mean over the seeds, under the first variant that needs the stage.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.comparing import Benchmark
from benchmarks.real_voc import all_places

if __name__ == "__main__":
    Benchmark(Path(__file__), __doc__, all_places).run()
