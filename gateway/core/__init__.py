"""Pure decisions. Nothing here awaits, reads a clock or the environment, or knows aiohttp.web or Redis."""
