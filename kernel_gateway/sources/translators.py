"""Parameters as code, language by language: papermill's translators, with the holes that they have closed.

Imports papermill (0.25 s), so it is imported only when there are parameters. Every translator takes JSON
values; `ValueError` means that a value has no faithful form in the language. What was found wanting in
papermill 2.7: strings as Python escapes (``\\xe9``) in R, Scala, Julia and MATLAB, ``$`` in Julia, control
characters, lists in lists and mappings in bash, NaN and the infinities outside Python, and integers that a
language would round in silence.
"""

from __future__ import annotations

import re
import shlex
from typing import Any

from papermill.exceptions import PapermillException
from papermill.translators import (
    BashTranslator,
    JuliaTranslator,
    MatlabTranslator,
    PythonTranslator,
    RTranslator,
    Translator,
    papermill_translators,
)

from .escapes import Names, c_string, compact_json, exact_literal, float_literal, in_double
from .translators_c import Java, JavaScript, Kotlin, Scala


def find_translator(kernel_name: str, language: str) -> Any:
    """The translator for a kernel: ours by language, else one that papermill has. None where there is none."""
    if (ours := TRANSLATORS.get(language.lower())) is not None:
        return ours
    if (ours := TRANSLATORS.get(kernel_name.lower())) is not None:
        return ours
    try:
        return papermill_translators.find_translator(kernel_name, language)
    except PapermillException:
        return None


class Python(Names, PythonTranslator):  # type: ignore[misc, unused-ignore]
    """Papermill's, less the code formatter that it calls where one happens to be installed."""

    @classmethod
    def assignable(cls, name: str) -> bool:
        """Unicode identifiers, but no keywords."""
        import keyword

        return name.isidentifier() and not keyword.iskeyword(name)

    @classmethod
    def codify(cls, parameters: dict[str, Any], comment: str = "Parameters") -> str:
        """The whole cell."""
        return str(Translator.codify.__func__(cls, parameters, comment))


class R(Names, RTranslator):  # type: ignore[misc, unused-ignore]
    """R: ``\\u`` escapes only, since R refuses to mix them with others in one string."""

    name_pattern = re.compile(r"_*(?:[A-Za-z]|\.(?![0-9]))[\w.]*\Z", re.ASCII)

    @classmethod
    def translate_str(cls, val: str) -> str:
        """A string; R has none with NUL."""
        if "\0" in val:
            raise ValueError("R has no strings with a NUL character")
        return c_string(val, lambda code: f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")

    @classmethod
    def translate_int(cls, val: int) -> str:
        """A whole number, which R keeps as a float."""
        return exact_literal(val)

    @classmethod
    def translate_float(cls, val: float) -> str:
        """A number."""
        return float_literal(val, "NaN", "Inf", "-Inf")

    @classmethod
    def translate_dict(cls, val: dict[str, Any]) -> str:
        """A named list; ``list(name = …)`` takes no empty name, and spoils others outside a UTF-8 locale."""
        if "" not in val and all(key.isascii() for key in val):
            return str(super().translate_dict(val))
        keys = ", ".join(cls.translate_str(key) for key in val)
        return f"setNames(list({', '.join(cls.translate(item) for item in val.values())}), c({keys}))"


class Bash(Names, BashTranslator):  # type: ignore[misc, unused-ignore]
    """Bash: lists are arrays, mappings associative arrays; what stands deeper inside is JSON text."""

    @classmethod
    def translate_escaped_str(cls, val: Any) -> str:
        """A word. Bytes that a terminal might act on are escaped: the kernel types code into one."""
        text = str(val)
        if "\0" in text:
            raise ValueError("bash has no strings with a NUL character")
        if all(" " <= character <= "~" and character != "!" for character in text):
            return shlex.quote(text)
        plain = {ord("'"): "\\'", ord("\\"): "\\\\", 10: "\\n", 13: "\\r", 9: "\\t"}
        encoded = (plain.get(b) or (chr(b) if 32 <= b < 127 and b != 33 else f"\\{b:03o}") for b in text.encode())
        return f"$'{''.join(encoded)}'"

    @classmethod
    def translate_list(cls, val: list[Any]) -> str:
        """An array."""
        return f"({' '.join(cls._item(item) for item in val)})"

    @classmethod
    def translate_dict(cls, val: dict[str, Any]) -> str:
        """An associative array."""
        if "" in val:
            raise ValueError("bash has no associative arrays with an empty key")
        return f"({' '.join(f'[{cls.translate_str(key)}]={cls._item(item)}' for key, item in val.items())})"

    @classmethod
    def _item(cls, val: Any) -> str:
        return cls.translate_str(compact_json(val)) if isinstance(val, list | dict) else cls.translate(val) or "''"

    @classmethod
    def assign(cls, name: str, str_val: str) -> str:
        """An assignment; an associative array must be declared, and an older variable of that name unset."""
        if str_val.startswith("([") or str_val == "()":
            return f"unset {name}; declare {'-A' if str_val.startswith('([') else '-a'} {name}={str_val}"
        return f"{name}={str_val}"


class Julia(Names, JuliaTranslator):  # type: ignore[misc, unused-ignore]
    """Julia: ``$`` would interpolate."""

    @classmethod
    def translate_str(cls, val: str) -> str:
        """A string."""
        return c_string(val, lambda code: f"\\U{code:08x}", dollar=True)

    @classmethod
    def translate_float(cls, val: float) -> str:
        """A number."""
        return float_literal(val, "NaN", "Inf", "-Inf")


class Octave(Names, MatlabTranslator):  # type: ignore[misc, unused-ignore]
    """Octave: strings are bytes, written as octal escapes where they aren't ASCII."""

    name_pattern = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)

    @classmethod
    def translate_str(cls, val: str) -> str:
        """A character array."""
        return c_string(val, lambda code: "".join(f"\\{byte:03o}" for byte in chr(code).encode()))

    @classmethod
    def translate_int(cls, val: int) -> str:
        """A whole number, kept as a float."""
        return exact_literal(val)

    @classmethod
    def translate_float(cls, val: float) -> str:
        """A number."""
        return float_literal(val, "NaN", "Inf", "-Inf")

    @classmethod
    def translate_dict(cls, val: dict[str, Any]) -> str:
        """A `containers.Map` that keeps its values as they are."""
        if not val:
            return "containers.Map()"
        keys = ", ".join(cls.translate_key(key) for key in val)
        values = ", ".join(cls.translate(item) for item in val.values())
        return f"containers.Map({{{keys}}}, {{{values}}}, 'UniformValues', false)"

    @classmethod
    def translate_key(cls, key: str) -> str:
        """A key of a map, which must be a character array."""
        return cls.translate_str(key)


class Matlab(Octave):
    """MATLAB: no escapes in strings, so control characters are added by their numbers."""

    name_pattern = re.compile(r"[A-Za-z]\w*\Z", re.ASCII)

    @classmethod
    def translate_str(cls, val: str) -> str:
        """A string."""
        parts = re.findall(r"[^\x00-\x1f\x7f]+|[\x00-\x1f\x7f]", val)
        pieces = [f"char({ord(part)})" if part < " " or part == "\x7f" else in_double(part) for part in parts]
        if not pieces or not pieces[0].startswith('"'):
            pieces.insert(0, '""')
        return pieces[0] if len(pieces) == 1 else f"({' + '.join(pieces)})"

    @classmethod
    def translate_key(cls, key: str) -> str:
        """A key of a map."""
        return f"char({cls.translate_str(key)})"


TRANSLATORS: dict[str, Any] = {
    "python": Python,
    "python3": Python,
    "ipython": Python,
    "sql": Python,  # SQL runs through IPython; its cells read Python variables as {{name}}
    "r": R,
    "bash": Bash,
    "sh": Bash,
    "julia": Julia,
    "octave": Octave,
    "matlab": Matlab,
    "javascript": JavaScript,
    "typescript": JavaScript,
    "scala": Scala,
    "java": Java,
    "kotlin": Kotlin,
}
"""Language (lower case, as kernelspecs spell it) → translator."""

STATICALLY_TYPED = frozenset({"java", "kotlin", "scala"})
"""Languages where ``1`` given for a default of ``0.5`` would silently turn later divisions into integer ones."""
