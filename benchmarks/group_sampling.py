"""How long an epoch's groups take at the size of COCO.

    python -m benchmarks.group_sampling                # a generated set of 82,081 images with 80 classes

Tags are drawn like COCO's: 2.9 classes an image on average, the frequent ones far more often than the rare ones. Writes
`benchmarks/results/group_sampling.json`: CPU seconds of building the sampler and of one epoch, on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from benchmarks.real_voc import circumstances
from wsss_jobs.training.group_sampling import GroupSampler

RESULTS = Path(__file__).parent / "results" / "group_sampling.json"
NUM_IMAGES = 82_081
NUM_CLASSES = 80
MEAN_CLASSES = 2.9


def coco_like_labels(num_images: int, seed: int = 0) -> list[list[int]]:
    """Returns tags of images: a class is drawn with a probability that falls with its number, without repeats."""
    rng = np.random.default_rng(seed)
    frequency = 1.0 / np.arange(1, NUM_CLASSES + 1)
    frequency /= frequency.sum()
    counts = 1 + rng.poisson(MEAN_CLASSES - 1, size=num_images)
    return [
        (rng.choice(NUM_CLASSES, size=min(int(count), NUM_CLASSES), replace=False, p=frequency) + 1).tolist()
        for count in counts
    ]


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=NUM_IMAGES)
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    labels = coco_like_labels(arguments.images)
    item_ids = [f"{number:020x}" for number in range(arguments.images)]
    started = time.process_time()
    sampler = GroupSampler(item_ids, labels, group_size=4)
    built = time.process_time()
    groups = sampler.epoch_groups(0)
    finished = time.process_time()
    content = {
        "num_tag_sets": len({tuple(sorted(tags)) for tags in labels}),
        "mean_group_size": round(float(np.mean([len(group) for group in groups])), 3),
        "cpu_seconds.build": round(built - started, 2),
        "cpu_seconds.epoch": round(finished - built, 2),
        **circumstances(arguments.images),
    }
    print(json.dumps(content, indent=1))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
