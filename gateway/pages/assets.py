"""The files the pages need, read once at import: a request never waits for a disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

_FOLDER = Path(__file__).with_name("static")
_CONTENT_TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file: its bytes, the whole `Content-Type` value, and an entity tag (hex, without the header's quotes)."""

    body: bytes = field(repr=False)
    content_type: str
    etag: str


def static_file(body: bytes, content_type: str) -> StaticFile:
    """With the entity tag of its content."""
    return StaticFile(body, content_type, sha256(body).hexdigest()[:16])


def _read_all() -> Mapping[str, StaticFile]:
    files = (path for path in sorted(_FOLDER.iterdir()) if path.suffix in _CONTENT_TYPES)
    return MappingProxyType({path.name: static_file(path.read_bytes(), _CONTENT_TYPES[path.suffix]) for path in files})


STATIC: Mapping[str, StaticFile] = _read_all()
