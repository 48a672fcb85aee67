"""Inter-pixel affinity: networks, losses, and the labels they learn from."""
