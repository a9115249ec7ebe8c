"""The front door: HTTP/1.1 as clients speak it, on asyncio protocols without anything in between.

``parser`` makes requests of bytes, ``client`` is one connection, ``door`` asks the gate and lets somebody answer:
``relay`` (a backend), ``answers`` (a refusal of ours) or whoever hosts our own endpoints.
"""
