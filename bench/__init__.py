"""Measurements. Each file says how its figures are made; docs/performance.md has them."""
