"""Reads pickles of plain data without unpickling: an interpreter that can create numbers, strings and containers only.

Python's unpickler, restricted to harmless names, can still be kept busy forever (the hash of a tuple of two that are the same
tuple of two …) and made to fill the memory (a memo's index). Here only names given by the caller have a meaning;
dictionaries have strings for keys; a memo is a dictionary; and the number of operations is limited.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any

MAX_OPERATIONS = 500_000  # 10,000 labels and file names of an official batch take 50,000

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_VALUES |= {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_VALUES |= {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
_STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}  # of Python 2: bytes
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING = {"PROTO", "FRAME"}
_MARK = object()


class RefusedError(ValueError):
    """A pickle that uses something not needed for plain data."""


class StandIn:
    """A stand-in for a class named in a pickle; the result of its call may be given a state."""

    state: Any = None


def read(content: bytes, names: Mapping[tuple[str, str], Callable[..., StandIn | bytes]]) -> Any:
    """The object that a pickle describes.

    Parameters
    ----------
    content : bytes
    names : mapping
        For each allowed (module, name), the replacement, called with arbitrary arguments.

    Raises
    ------
    RefusedError
        It uses another name, or an operation not needed for plain data.
    Exception
        Of any kind, if the pickle is damaged.
    """
    machine = _Machine(names)
    for count, (operation, argument, _) in enumerate(pickletools.genops(content)):
        if count >= MAX_OPERATIONS:
            raise RefusedError(f"it takes more than {MAX_OPERATIONS} operations")
        if operation.name == "STOP":
            return machine.stack.pop()
        machine.do(operation.name, argument)
    raise ValueError("it has no end")


class _Machine:
    def __init__(self, names: Mapping[tuple[str, str], Callable[..., StandIn | bytes]]) -> None:
        self.names = names
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def do(self, name: str, argument: Any) -> None:
        """Execute one operation."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _STRINGS:
            self.stack.append(argument.encode("latin-1"))
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            self.stack.append(tuple(self._last(_TUPLES[name])))
        elif name in _PUTS:
            self.memo[argument] = self.stack[-1]
        elif name in _GETS:
            self.stack.append(self.memo[argument])
        elif name not in _NOTHING:
            self._do_structure(name, argument)

    def _do_structure(self, name: str, argument: Any) -> None:
        stack = self.stack
        match name:
            case "MARK":
                stack.append(_MARK)
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "POP":
                stack.pop()
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "TUPLE":
                stack.append(tuple(self._since_mark()))
            case "LIST":
                stack.append(self._since_mark())
            case "DICT":
                stack.append(_filled({}, self._since_mark()))
            case "APPEND":
                _extended(stack[-2], self._last(1))
            case "APPENDS":
                values = self._since_mark()
                _extended(stack[-1], values)
            case "SETITEM":
                pair = self._last(2)
                _filled(stack[-1], pair)
            case "SETITEMS":
                pairs = self._since_mark()
                _filled(stack[-1], pairs)
            case _:
                self._do_call(name, argument)

    def _do_call(self, name: str, argument: Any) -> None:
        stack = self.stack
        match name:
            case "GLOBAL" | "INST":
                module, _, attribute = argument.partition(" ")
                stack.append(self._named(module, attribute))
                if name == "INST":
                    raise RefusedError("it makes an instance of a class")
            case "STACK_GLOBAL":
                stack.append(self._named(*self._last(2)))
            case "REDUCE":
                function, arguments = self._last(2)
                if not any(function is known for known in self.names.values()):
                    raise RefusedError("it calls an object that is not an allowed function")
                stack.append(function(*arguments))
            case "BUILD":
                (state,) = self._last(1)
                if not isinstance(stack[-1], StandIn):
                    raise RefusedError("it gives a state to an object without one")
                stack[-1].state = state
            case _:
                raise RefusedError(f"it asks for the operation {name}")

    def _named(self, module: Any, name: Any) -> Any:
        if not isinstance(module, str) or not isinstance(name, str):
            raise RefusedError("it asks for a name that is not a string")
        try:
            return self.names[module, name]
        except KeyError:
            raise RefusedError(f"it asks for {module:.100}.{name:.100}") from None

    def _last(self, count: int) -> list[Any]:
        if not count:
            return []
        values = self.stack[-count:]
        if len(values) < count or any(value is _MARK for value in values):
            raise ValueError("its stack is empty")
        del self.stack[-count:]
        return values

    def _since_mark(self) -> list[Any]:
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]


def _extended(values: Any, more: list[Any]) -> None:
    if type(values) is not list:
        raise ValueError("it appends to an object that is not a list")
    values += more


def _filled(table: Any, pairs: list[Any]) -> dict[str | bytes, Any]:
    if type(table) is not dict:
        raise ValueError("it sets an item of an object that is not a dictionary")
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        if not isinstance(key, str | bytes):
            raise RefusedError("it has a dictionary whose keys are not strings")
        table[key] = value
    return table
