"""Group-wise learning against a single-image classifier on real images, and what each of its parts adds.

    python -m benchmarks.real_voc_groupwise --data ../shared/data              # three seeds: hours on 2 cores
    python -m benchmarks.real_voc_groupwise --data ../shared/data --images 24 --seeds 0 --only full,single

Runs the comparison `benchmarks/real_voc_groupwise.yaml`: without group-wise learning, graph dropout, edge supervision,
intermediate supervision; K = 2 to 5; T = 2 to 4; ways of sampling; read-outs. All variants see the same number of
images in (about) the same number of steps, at one size. Scored are CAMs, at the background threshold that suits each
variant best (the sweep of `wsss evaluate`); masks are read for that alone.

`--data` and the halves are as in `benchmarks.real_voc`. `margins.*` are differences in percentage points of mIoU,
as measured, beside the paper's (Table V with VGG-16 for CAMs, Table IV for segmentation). `spread.*` is the sample
standard deviation over the seeds. A run that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.real_voc import weights
from benchmarks.real_voc_compare import compare, subset
from cluster.interruption import sigterm_as_ctrl_c
from wsss_jobs.cli.compare import parse_seeds
from wsss_jobs.comparison.config import Comparison, load_comparison
from wsss_jobs.comparison.jobs import prepare_comparison

COMPARISON = Path(__file__).with_suffix(".yaml")
RESULTS = Path(__file__).parent / "results" / "real_voc_groupwise.json"


def main() -> None:
    """Runs, scores, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--store", type=Path, default=Path("benchmarks/runs"))
    parser.add_argument("--seeds", type=parse_seeds, help="such as 0,1,2; default: those of the comparison")
    parser.add_argument("--only", type=lambda text: text.split(","), help="variants, such as full,single; default: all")
    parser.add_argument("--images", type=int, help="only so many, for a quick check; leaves the results file alone")
    parser.add_argument("--json", type=Path, help=f"default: {RESULTS.name}; with --images or --only, in the store")
    arguments = parser.parse_args()
    sigterm_as_ctrl_c()
    data, store = arguments.data, arguments.store
    store.mkdir(parents=True, exist_ok=True)
    comparison = load_comparison(str(COMPARISON))
    if arguments.seeds:
        comparison = comparison.model_copy(update={"seeds": arguments.seeds})
    if arguments.only:
        comparison = only(comparison, arguments.only)
    is_check = arguments.images or arguments.only
    path = arguments.json or (store / "real_voc_groupwise_check.json" if is_check else RESULTS)
    jobs = prepare_comparison(comparison, [*places(data, store), *subset(data, store, arguments.images)])
    if not compare(comparison, jobs, store / "seconds_groupwise.json", path):
        sys.exit(1)


def places(data: Path, store: Path) -> list[str]:
    """Returns where data set, store and the encoder's weights are, as overrides of the recipe."""
    return [
        f"dataset.root={data / 'voc_subset'}",
        f"store.uri={store}",
        f"stages.train_groupwise.network.encoder.weights={weights(data)}",
    ]


def only(comparison: Comparison, names: Sequence[str]) -> Comparison:
    """Returns the comparison of some variants; tables and margins that need others are left out."""
    methods = {name: method for name, method in comparison.methods.items() if method.variant in names}
    margins = {
        name: margin for name, margin in comparison.margins.items() if {margin.above, margin.below} <= set(methods)
    }
    changed = comparison.model_dump() | {
        "variants": {name: comparison.variants[name].model_dump() for name in names},
        "methods": {name: method.model_dump() for name, method in methods.items()},
        "margins": {name: margin.model_dump() for name, margin in margins.items()},
        "tables": {},
        "plots": (),
        "examples": (),
    }
    return Comparison.model_validate(changed)


if __name__ == "__main__":
    main()
