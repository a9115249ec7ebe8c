"""The gateway's own endpoints, one file per thing a client can ask for. Handlers do not import each other."""
