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

from pathlib import Path

from benchmarks.comparing import Benchmark
from benchmarks.real_voc import weights


def places(data: Path, store: Path) -> list[str]:
    """Returns where data set, store and the encoder's weights are, as overrides of the recipe."""
    return [
        f"dataset.root={data / 'voc_subset'}",
        f"store.uri={store}",
        f"stages.train_groupwise.network.encoder.weights={weights(data)}",
    ]


if __name__ == "__main__":
    Benchmark(Path(__file__), __doc__, places).run()
