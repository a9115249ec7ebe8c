"""The same exchange with the gateway in between and without it (tests/behaviour/test_differential.py)."""
