"""The only import of POT."""

import os
import sys

# POT imports every framework that is installed, at up to a second each, and only its NumPy backend is used here. What the
# program has imported already costs nothing: its backend stays, for the program's own calls of POT.
_FRAMEWORKS = {"PYTORCH": "torch", "JAX": "jax", "TENSORFLOW": "tensorflow", "CUPY": "cupy"}
_switches = {
    f"POT_BACKEND_DISABLE_{backend}"
    for backend, framework in _FRAMEWORKS.items()
    if framework not in sys.modules
} - os.environ.keys()

os.environ.update(dict.fromkeys(_switches, "1"))
try:
    import ot
finally:
    for _switch in _switches:
        del os.environ[_switch]

__all__ = ["ot"]
