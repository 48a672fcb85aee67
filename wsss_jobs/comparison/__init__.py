"""Recipes beside each other on one data set, and a paper's tables with our numbers in them (docs/compare.md)."""
