"""The methods: networks, losses, label propagation and dense CRF. Nothing here knows Ray or storage."""
