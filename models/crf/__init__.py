"""Dense CRF: parameters, unaries, and backends that give the same labels at different speeds."""
