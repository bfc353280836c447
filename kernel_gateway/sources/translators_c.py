"""Parameters as code for languages that papermill lacks, JavaScript, Java and Kotlin, and for their kin Scala."""

from __future__ import annotations

import re
from typing import Any

from papermill.translators import ScalaTranslator, Translator

from .escapes import Names, c_string, chunks, compact_json, float_literal, utf16

EXACT = 2**53
"""Whole numbers up to here are exact as JavaScript's numbers."""


class JavaScript(Names, Translator):  # type: ignore[misc, unused-ignore]
    """JavaScript and TypeScript, as values: a whole number that a number would round is a BigInt."""

    name_pattern = re.compile(r"[A-Za-z_$][\w$]*\Z", re.ASCII)

    @classmethod
    def translate_str(cls, val: str) -> str:
        """A string."""
        return compact_json(val)

    @classmethod
    def translate_none(cls, val: None) -> str:
        """Null."""
        return "null"

    @classmethod
    def translate_int(cls, val: int) -> str:
        """A number or a BigInt."""
        return str(val) if abs(val) <= EXACT else f"{val}n"

    @classmethod
    def translate_float(cls, val: float) -> str:
        """A number."""
        return float_literal(val, "NaN", "Infinity", "-Infinity")

    @classmethod
    def translate_list(cls, val: list[Any]) -> str:
        """An array."""
        return f"[{', '.join(cls.translate(item) for item in val)}]"

    @classmethod
    def translate_dict(cls, val: dict[str, Any]) -> str:
        """An object; the key ``__proto__`` in brackets, else it would set the prototype."""
        keys = ("[" + compact_json(key) + "]" if key == "__proto__" else compact_json(key) for key in val)
        return f"{{{', '.join(f'{key}: {cls.translate(item)}' for key, item in zip(keys, val.values(), strict=True))}}}"

    @classmethod
    def comment(cls, cmt_str: str) -> str:
        """A comment."""
        return f"// {cmt_str}".strip()

    @classmethod
    def assign(cls, name: str, str_val: str) -> str:
        """A declaration; a notebook's kernel lets a later cell declare a name again."""
        return f"let {name} = {str_val};"


class Scala(Names, ScalaTranslator):  # type: ignore[misc, unused-ignore]
    """Scala."""

    @classmethod
    def translate_str(cls, val: str) -> str:
        """A string."""
        return c_string(val, utf16)

    @classmethod
    def translate_none(cls, val: None) -> str:
        """None."""
        return "None"

    @classmethod
    def translate_int(cls, val: int) -> str:
        """An Int, a Long, or a BigInt."""
        return _jvm_int(val, 'BigInt("{}")')

    @classmethod
    def translate_float(cls, val: float) -> str:
        """A Double."""
        return float_literal(val, "Double.NaN", "Double.PositiveInfinity", "Double.NegativeInfinity")


class Java(Names, Translator):  # type: ignore[misc, unused-ignore]
    """Java in JShell."""

    @classmethod
    def translate_str(cls, val: str) -> str:
        """A string; a constant holds at most 65,535 bytes, so a long one is put together."""
        parts = [c_string(part, utf16) for part in chunks(val, 16_000)]
        return parts[0] if len(parts) == 1 else f'String.join("", {", ".join(parts)})'

    @classmethod
    def translate_none(cls, val: None) -> str:
        """Null, with a type since ``var`` needs one."""
        return "(Object) null"

    @classmethod
    def translate_int(cls, val: int) -> str:
        """An int, a long, or a BigInteger."""
        return _jvm_int(val, 'new java.math.BigInteger("{}")')

    @classmethod
    def translate_float(cls, val: float) -> str:
        """A double."""
        return float_literal(val, "Double.NaN", "Double.POSITIVE_INFINITY", "Double.NEGATIVE_INFINITY")

    @classmethod
    def translate_list(cls, val: list[Any]) -> str:
        """A List of the items' own type, of Object where they differ."""
        alike = len({type(item) for item in val}) == 1 and not isinstance(val[0], list | dict)
        return f"java.util.Arrays.{'' if alike else '<Object>'}asList({', '.join(cls.translate(item) for item in val)})"

    @classmethod
    def translate_dict(cls, val: dict[str, Any]) -> str:
        """A Map in the order given."""
        puts = "".join(f" put({cls.translate_str(key)}, {cls.translate(item)});" for key, item in val.items())
        return f"new java.util.LinkedHashMap<String, Object>() {{{{{puts} }}}}"

    @classmethod
    def comment(cls, cmt_str: str) -> str:
        """A comment."""
        return f"// {cmt_str}".strip()

    @classmethod
    def assign(cls, name: str, str_val: str) -> str:
        """A declaration; a map is declared by its interface."""
        kind = "java.util.Map<String, Object>" if str_val.startswith("new java.util.LinkedHashMap") else "var"
        return f"{kind} {name} = {str_val};"


class Kotlin(Java):
    """Kotlin."""

    @classmethod
    def translate_str(cls, val: str) -> str:
        """A string; ``$`` would interpolate."""
        parts = [c_string(part, utf16, dollar=True) for part in chunks(val, 16_000)]
        return parts[0] if len(parts) == 1 else f'listOf({", ".join(parts)}).joinToString("")'

    @classmethod
    def translate_none(cls, val: None) -> str:
        """Null."""
        return "null"

    @classmethod
    def translate_int(cls, val: int) -> str:
        """An Int, a Long, or a BigInteger. The lowest Long has no literal."""
        return "Long.MIN_VALUE" if val == -(2**63) else _jvm_int(val, 'java.math.BigInteger("{}")')

    @classmethod
    def translate_float(cls, val: float) -> str:
        """A Double."""
        return float_literal(val, "Double.NaN", "Double.POSITIVE_INFINITY", "Double.NEGATIVE_INFINITY")

    @classmethod
    def translate_list(cls, val: list[Any]) -> str:
        """A List."""
        return f"listOf{'' if val else '<Any?>'}({', '.join(cls.translate(item) for item in val)})"

    @classmethod
    def translate_dict(cls, val: dict[str, Any]) -> str:
        """A Map in the order given."""
        pairs = ", ".join(f"{cls.translate_str(key)} to {cls.translate(item)}" for key, item in val.items())
        return f"mapOf<String, Any?>({pairs})"

    @classmethod
    def assign(cls, name: str, str_val: str) -> str:
        """A declaration."""
        return f"var {name}{': Any?' if str_val == 'null' else ''} = {str_val}"


def _jvm_int(val: int, big: str) -> str:
    if -(2**31) <= val < 2**31:
        return str(val)
    return f"{val}L" if -(2**63) <= val < 2**63 else big.format(val)
