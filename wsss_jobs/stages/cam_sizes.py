"""CAMs at the resolution that a stage asks for."""

import numpy as np

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import DataError
from wsss_jobs.records import Cams


def full_resolution(cams: Cams, item: DatasetItem) -> np.ndarray:
    """Returns the CAMs at the image's size, float32: the stored ones, or the stride-4 ones up-sampled bilinearly."""
    check_finite(cams, item)
    if cams.high_res_KHW is not None:
        return cams.high_res_KHW.astype(np.float32)
    import torch  # here and not above: planning knows this module through its stages
    from torch.nn import functional as F

    cam_1Khw = torch.from_numpy(cams.cam_Khw.astype(np.float32))[None]
    size_HW = (cam_1Khw.shape[2] * 4, cam_1Khw.shape[3] * 4)
    up = F.interpolate(cam_1Khw, size=size_HW, mode="bilinear", align_corners=False)[0]
    return np.ascontiguousarray(up[:, : item.height_px, : item.width_px].numpy())


def check_finite(cams: Cams, item: DatasetItem) -> None:
    """Raises `DataError` for CAMs that hold NaN or infinity: no later step can do anything with them."""
    for array in (cams.cam_Khw, cams.high_res_KHW):
        if array is not None and not np.isfinite(array).all():
            num_bad = np.count_nonzero(~np.isfinite(array))
            message = f"its CAM holds {num_bad} values that are NaN or infinite; look at the classifier"
            raise DataError(item.source_key, "nan_cam", message)
