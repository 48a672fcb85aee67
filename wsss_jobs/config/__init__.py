"""From a recipe file to a validated, resolved recipe."""
