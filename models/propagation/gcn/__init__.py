"""The per-image GCN of WSGCN: `solve.solve_batch` trains one on each graph; several backends, one result."""
