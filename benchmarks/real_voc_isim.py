"""ISIM against plain CAM on real images: DeepLabCAM, both UNetCAMs, generations, crop sizes, convergence, seeds.

    python -m benchmarks.real_voc_isim --data ../shared/data               # hours on 2 cores
    python -m benchmarks.real_voc_isim --data ../shared/data --images 40 --seeds 0 --variants cam     # does it work?

Runs the comparison `benchmarks/real_voc_isim.yaml`. `cam`, `deeplabcam`, `unet_learnable` and `unet_bilinear` run with
every seed, the rest with the first one. The phase that learns tags alone, and the pseudo labels made of it, are the
same for all decoders, and done once. `--data` and the halves are as in `benchmarks.real_voc`; nothing of this recipe
was tuned on either half. Masks are read for scoring alone.

`miou.<method>_<k>` is of generation k (`generation_1` for all), without a number at the end of the training; plain
names are at the best background threshold, `_crf` at that of the training with the dense CRF. `margins.*` are
differences in percentage points, `spread.*` sample standard deviations over the seeds. A run that was interrupted goes
on.
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
from wsss_jobs.comparison.jobs import VariantJob, prepare_comparison

COMPARISON = Path(__file__).with_suffix(".yaml")
RESULTS = Path(__file__).parent / "results" / "real_voc_isim.json"
EVERY_SEED = ("cam", "deeplabcam", "unet_learnable", "unet_bilinear")


def main() -> None:
    """Runs, scores, prints and writes."""
    arguments = parsed()
    sigterm_as_ctrl_c()
    store: Path = arguments.store
    store.mkdir(parents=True, exist_ok=True)
    comparison = load_comparison(str(COMPARISON))
    if arguments.seeds:
        comparison = comparison.model_copy(update={"seeds": arguments.seeds})
    overrides = [*places(arguments.data, store), *subset(arguments.data, store, arguments.images)]
    jobs = chosen(comparison, prepare_comparison(comparison, overrides), arguments.variants)
    path = arguments.json or (RESULTS if arguments.images is None else store / f"real_voc_isim_{arguments.images}.json")
    if not compare(comparison, jobs, store / "seconds_isim.json", path):
        sys.exit(1)


def parsed() -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--store", type=Path, default=Path("benchmarks/runs"))
    parser.add_argument("--seeds", type=parse_seeds, help="such as 0,1,2; default: those of the comparison")
    parser.add_argument("--variants", nargs="*", help="only these; the others are scored no more than they are done")
    parser.add_argument("--images", type=int, help="only so many, for a quick check; leaves the results file alone")
    parser.add_argument("--json", type=Path, help=f"default: {RESULTS.name}; with --images, in the store")
    return parser.parse_args()


def places(data: Path, store: Path) -> list[str]:
    """Returns where data set, store and the encoder's weights are, as overrides of the recipe."""
    return [
        f"dataset.root={data / 'voc_subset'}",
        f"store.uri={store}",
        f"stages.isim.training.network.classifier.encoder.weights={weights(data)}",
    ]


def chosen(comparison: Comparison, jobs: Sequence[VariantJob], variants: Sequence[str] | None) -> list[VariantJob]:
    """Returns the jobs to run: the main variants with every seed, others with the first; only `variants`, if given."""
    first = comparison.seeds[0]
    kept = [job for job in jobs if job.variant in EVERY_SEED or job.seed == first]
    return kept if not variants else [job for job in kept if job.variant in variants]


if __name__ == "__main__":
    main()
