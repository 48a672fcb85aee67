"""Image sets with tags: formats, decoding, the index, the doctor and generated data."""
