"""ACR on real images: is a classifier that plays against a reconstructor better than one that learns from tags alone?

    python -m benchmarks.real_voc_acr --data ../shared/data               # three seeds: hours on 2 cores
    python -m benchmarks.real_voc_acr --data ../shared/data --images 40 --seeds 0    # does it work?

Runs the comparison `benchmarks/real_voc_acr.yaml`: the baseline, a reconstructor that was trained first, one that
learns in turns with the classifier, each with and without stochastic remnant feeding, and the classifier's losses one
by one (Tables 1 and 2 of Kweon et al., CVPR 2023), these also behind epochs 1, 2 and 4 of 8 (Fig. 5: `miou.*_early`,
`_quarter`, `_half`). Equal stages are done once. Masks are read for scoring alone; no setting was tuned on them.

`--data` and the halves are as in `benchmarks.real_voc`. `miou.*`, `precision.*`, `recall.*` are of CAMs at their best
threshold, means over the seeds, in percent; `spread.*` the sample standard deviation. `margins` are differences of two
methods, seed by seed, as measured, beside the paper's as aims. A run that was interrupted goes on;
`seconds.<variant>.<stage>` is of the run that did the work, and `peak_memory_mib.<variant>.<stage>` the most that a
worker of a training took.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.comparing import Benchmark
from benchmarks.real_voc import weights


def places(data: Path, store: Path) -> list[str]:
    """Returns where data set, store and the weights of all networks are, as overrides of the recipes."""
    networks = {
        "train_baseline": ("classifier", "reconstructor"),
        "train_reconstructor": ("reconstructor",),
        "train_acr": ("classifier", "reconstructor"),
    }
    return [
        f"dataset.root={data / 'voc_subset'}",
        f"store.uri={store}",
        *(f"stages.{stage}.{part}.encoder.weights={weights(data)}" for stage in networks for part in networks[stage]),
    ]


if __name__ == "__main__":
    Benchmark(Path(__file__), __doc__, places).run()
