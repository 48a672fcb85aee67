"""Label propagation: partial labels, grid graphs, the random walk, and a GCN trained on each image."""
