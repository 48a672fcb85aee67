"""Batch jobs that turn images with image-level tags into pixel-wise pseudo labels."""
