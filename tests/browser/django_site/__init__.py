"""A Django project with nothing but its admin, and one model with a file: ``python -m tests.browser.django_site.serve FOLDER``."""
