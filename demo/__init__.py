"""The legacy backend behind the gateway: a small company's customer manager that has no login code at all."""
