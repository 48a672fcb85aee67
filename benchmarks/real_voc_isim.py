"""ISIM against plain CAM on real images: DeepLabCAM, both UNetCAMs, generations, crop sizes, convergence, seeds.

    python -m benchmarks.real_voc_isim --data ../shared/data               # hours on 2 cores
    python -m benchmarks.real_voc_isim --data ../shared/data --images 40 --seeds 0 --only cam     # does it work?

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

from pathlib import Path

from benchmarks.comparing import Benchmark
from benchmarks.real_voc import weights

EVERY_SEED = ("cam", "deeplabcam", "unet_learnable", "unet_bilinear")


def places(data: Path, store: Path) -> list[str]:
    """Returns where data set, store and the encoder's weights are, as overrides of the recipe."""
    return [
        f"dataset.root={data / 'voc_subset'}",
        f"store.uri={store}",
        f"stages.isim.training.network.classifier.encoder.weights={weights(data)}",
    ]


if __name__ == "__main__":
    Benchmark(Path(__file__), __doc__, places, EVERY_SEED).run()
