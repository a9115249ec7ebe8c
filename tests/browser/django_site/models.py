# mypy: disable-error-code="import-untyped,misc,untyped-decorator"
"""Something with a file, for the admin to upload."""

from __future__ import annotations

from django.contrib import admin
from django.db import models


class Document(models.Model):
    """A named file."""

    name = models.CharField(max_length=100)
    file = models.FileField(upload_to="documents")

    def __str__(self) -> str:
        return str(self.name)


admin.site.register(Document)
