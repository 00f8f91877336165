"""Writing TOML, and reading it safely."""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from typing import Any


def format_toml(table: dict[str, Any], prefix: str = "") -> str:
    """Nested tables of strings, booleans, integers, floats and sequences of them as TOML text."""
    values = [f"{key} = {_value(v)}" for key, v in table.items() if not isinstance(v, dict)]
    text = "".join(line + "\n" for line in values)
    for key, value in table.items():
        if isinstance(value, dict):
            body = format_toml(value, f"{prefix}{key}.")
            text += body if body.startswith("\n") else f"\n[{prefix}{key}]\n{body}"
    return text


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for the one control character that JSON leaves alone
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


_WIDE = (
    codecs.BOM_UTF16_LE,
    codecs.BOM_UTF16_BE,
)  # the mark of little-endian UTF-32 begins as that of UTF-16


def decoded(content: bytes) -> str:
    """The text of a file, with or without a byte-order mark.

    Raises
    ------
    ValueError
        It is not UTF-8.
    """
    if content.startswith(_WIDE) or b"\0" in content:
        raise ValueError("the text must be UTF-8, got UTF-16, or no text; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"the text must be UTF-8, got the byte 0x{content[error.start]:02x} in line {line}; save it as UTF-8"
        ) from None


# a key with too many parts, bare or quoted: the parser's time is quadratic in their number
_LONG_KEY = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')[ \t]*\.[ \t]*){64}"""
)


def parse(text: str) -> dict[str, Any]:
    """The tables of an untrusted TOML text.

    Raises
    ------
    ValueError
        It is not valid TOML, or its keys or brackets exhaust the parser.
    """
    if _LONG_KEY.search(text):
        raise ValueError("keys must have at most 64 parts, got more")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError(
            "brackets must be nested less deeply, got too many for the parser"
        ) from None


def parse_value(text: str) -> Any:
    """A TOML value, or the text itself if it is not one: ``--set risk.loss=softmax``."""
    try:
        return parse(f"value = {text}")["value"]
    except ValueError:
        return text
