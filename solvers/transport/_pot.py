"""The only import of POT."""

import os

# POT imports every framework it finds, at up to a second each; only its NumPy backend is used here.
for _backend in ("PYTORCH", "JAX", "TENSORFLOW", "CUPY"):
    os.environ.setdefault(f"POT_BACKEND_DISABLE_{_backend}", "1")

import ot  # noqa: E402

__all__ = ["ot"]
