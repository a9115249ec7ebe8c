"""The configuration: YAML and environment, checked once at start, every problem in one list, then frozen.

``model`` says what there is, ``values`` what each kind of value may be. ``load`` reads and checks: the file
(``yaml_file``), the environment over it (``sources``), single values, values together (``whole``); ``words`` says what is
wrong. ``schema`` is the model for editors.
"""

from gateway.settings.load import load_settings, settings_from
from gateway.settings.model import Settings

__all__ = ["Settings", "load_settings", "settings_from"]
