"""Image classifiers and their class activation maps."""
