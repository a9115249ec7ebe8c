"""The configuration: YAML and environment, checked once at start, every problem in one list, then frozen.

``load`` reads and checks; ``model`` says what there is; ``sources`` knows where each value came from.
"""

from gateway.settings.load import load_settings, settings_from
from gateway.settings.model import Settings

__all__ = ["Settings", "load_settings", "settings_from"]
