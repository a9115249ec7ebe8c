"""Properties: no deadline per example (machines are busy), nothing kept between runs."""

from hypothesis import settings

settings.register_profile("core", deadline=None, database=None, print_blob=True)
settings.load_profile("core")
