"""ACR: adversarial learning of a classifier and a reconstructor (Kweon, Yoon, Yoon, CVPR 2023)."""
