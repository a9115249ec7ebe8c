"""The soak: a real gateway between a backend that misbehaves and clients that vanish, for minutes or hours.

``python -m tests.soak --seconds 600`` is what ``make soak`` runs; ``tests/faults/test_soak.py`` runs a short one. Whatever
the two sides do to each other, well-behaved clients must get their own whole answers, or a failure that the backend's
conduct explains; and when the load ends nothing may be left of it: no connection, no descriptor, no memory, no busy loop.
"""
