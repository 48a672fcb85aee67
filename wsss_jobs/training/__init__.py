"""Ray Train: the one training loop, its schedule and its augmentations."""
