"""The aiohttp face that handlers share: sessions, cross-site checks, bodies, answers, typed request keys."""
