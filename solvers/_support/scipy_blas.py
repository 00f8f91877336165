"""SciPy's BLAS without the rest of `scipy.linalg`, whose import takes a tenth of a short run."""

from __future__ import annotations

import ctypes
import functools
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

import scipy

_MODULE = "scipy.linalg.cython_blas"

_of_capsule, _python = (ctypes.py_object,), ctypes.pythonapi
_signature = ctypes.PYFUNCTYPE(ctypes.c_char_p, *_of_capsule)(("PyCapsule_GetName", _python))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, *_of_capsule, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", _python)
)


def address(name: str) -> int:
    """Where a function is, as ``"dgemm"``; its arguments are pointers, as in Fortran."""
    capsule = load().__pyx_capi__[name]
    return int(_pointer(capsule, _signature(capsule)))


@functools.cache
def load() -> Any:
    """`scipy.linalg.cython_blas`, and with it the library that it calls."""
    folders = [str(Path(folder, "linalg")) for folder in scipy.__path__]
    spec = None if _MODULE in sys.modules else PathFinder.find_spec(_MODULE, folders)
    if spec is None or spec.loader is None:
        return import_module(_MODULE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    # Cython lists it; whoever imports `scipy.linalg` later must find it as an attribute there.
    sys.modules.pop(_MODULE, None)
    return module
