"""The version of this package. `make wheel` fills it from the version of the programs."""

__version__ = "0.2.0"
