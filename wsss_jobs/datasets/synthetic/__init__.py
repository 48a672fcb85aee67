"""Generated images with tags and exact masks, to run the whole chain where there is no data."""

from wsss_jobs.datasets.synthetic.generate import generate, generate_cub
from wsss_jobs.datasets.synthetic.shapes import SYNTHETIC_CLASSES
from wsss_jobs.datasets.synthetic.style import SyntheticStyle

__all__ = ["SYNTHETIC_CLASSES", "SyntheticStyle", "generate", "generate_cub"]
