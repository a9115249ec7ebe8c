"""The commands, one file per thing they are about; :mod:`gateway.cli` puts them together."""
