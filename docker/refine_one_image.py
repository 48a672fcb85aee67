"""One image through the dense CRF, by every backend: what an image of the nodes must be able to do."""

import sys

import numpy as np

from models.crf.config import DenseCRFConfig
from models.crf.dense_crf import DenseCRF
from models.crf.unaries import unary_from_labels


def main() -> int:
    """0 when every backend removes the speck that does not follow the image's edge, else 1."""
    image_HW3 = np.zeros((96, 128, 3), np.uint8)
    image_HW3[:, 64:] = 200
    right_HW = image_HW3[..., 0] > 0
    label_HW = right_HW.astype(np.int64)
    label_HW[16:24, 16:24] = 1
    unary_CN = unary_from_labels(label_HW, 2, 0.7)
    num_wrong = {}
    for backend in ("native", "torch", "pydensecrf"):
        refined_HW = DenseCRF(DenseCRFConfig(backend=backend)).refine(image_HW3, unary_CN).argmax(axis=0)
        num_wrong[backend] = int((refined_HW != right_HW).sum())
        changed = int((refined_HW != label_HW).sum())
        sys.stdout.write(f"{backend}: {changed} labels changed, {num_wrong[backend]} of {label_HW.size} wrong\n")
    return int(any(num_wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
