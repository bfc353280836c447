"""Whether two config.xml mean the same job, and what differs in words.

Jenkins keeps what it is sent until it saves the job itself: then plugin versions stand at each element, fields are in
another order, those with an empty or default value come or go, and builds leave their notes in ``<actions>``. None of
that is a difference. See hudson.util.XStream2 and AbstractItem.updateByXml in Jenkins' core.
"""

from __future__ import annotations

import difflib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import UnreachableError

_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>")
# XML 1.1, which Jenkins writes, holds characters that Python's parser refuses.
_CONTROL = re.compile(r"&#(?:x(?:0?[0-8bcef]|1[0-9a-f])|(?:[0-8]|1[124-9]|2\d|3[01]));", re.IGNORECASE)
_ENCRYPTED = re.compile(r"\{[A-Za-z0-9+/]{20,}={0,2}\}\Z")

NOTES_OF_BUILDS = ("actions",)
"""Elements below the root that Jenkins writes for itself."""

LEFT_AS_THEY_ARE = ("disabled",)
"""Elements below the root that stay as people set them on the job's page, where the YAML says nothing."""

FOLDER = "com.cloudbees.hudson.plugins.folder.Folder"
"""The element that a folder's config.xml begins with."""

PAGE_OF_A_FOLDER = ("canRoam", "folderViews", "healthMetrics", "icon", "primaryView", "views", "viewsTabBar")
"""Elements of a folder that stay as people set them in any case: jenkins-job-builder writes some, always the same.
``canRoam`` it writes too, which means nothing there."""

UNORDERED = ("properties", "triggers")
"""Lists whose order means nothing."""

PARAMETERS = "properties/ParametersDefinitionProperty/parameterDefinitions"
"""Where the parameters of a build stand."""

_DEFAULTS = {"", "false", "0", "-1"}
_LONGEST = 60


@dataclass(frozen=True)
class Difference:
    """One place in which two jobs differ. ``path`` names it without packages; None stands for nothing there."""

    path: str
    old: str | None
    new: str | None

    def lines(self) -> list[str]:
        """The difference for a person: one line, or the changed lines of a text with several."""
        old, new = self.old or "", self.new or ""
        if "\n" not in old + new:
            return [f"{self.path}: {_shown(self.old)} → {_shown(self.new)}"]
        changes = list(difflib.unified_diff(old.splitlines(), new.splitlines(), "", "", n=1, lineterm=""))[2:]
        return [
            f"{self.path}:",
            *(f"  {_plain(line)}" for line in changes or ["(only the end of the last line differs)"]),
        ]


def parse_config(config: str) -> ElementTree.Element:
    """A config.xml as a tree. Raises `UnreachableError` when it is no XML: then what answered is hardly a Jenkins."""
    try:
        return ElementTree.fromstring(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", _DECLARATION.sub("", config, count=1)))
    except ElementTree.ParseError as error:
        raise UnreachableError(f"Jenkins' config.xml of a job can't be read: {error}.") from None


def differences(there: ElementTree.Element, wanted: ElementTree.Element) -> list[Difference]:
    """In what the job that is ``there`` differs from the one that is ``wanted``; the planner asks for each job."""
    left = _left_to_people(wanted)
    return list(_differing(_without(there, NOTES_OF_BUILDS + left), _without(wanted, NOTES_OF_BUILDS + left), ""))


def keep_settings_of_people(there: ElementTree.Element, wanted: ElementTree.Element) -> None:
    """Give ``wanted`` what people set on the job's page: whether it is disabled, and a folder's views."""
    left = _left_to_people(wanted)
    for element in [child for child in wanted if child.tag in left]:
        wanted.remove(element)
    wanted.extend(child for child in there if child.tag in left)


def _left_to_people(wanted: ElementTree.Element) -> tuple[str, ...]:
    silent = tuple(tag for tag in LEFT_AS_THEY_ARE if wanted.find(tag) is None)
    return silent + PAGE_OF_A_FOLDER if wanted.tag == FOLDER else silent


def _without(root: ElementTree.Element, tags: tuple[str, ...]) -> ElementTree.Element:
    copy = ElementTree.Element(root.tag, root.attrib)
    copy.text = root.text
    copy.extend(child for child in root if child.tag not in tags)
    return copy


def _differing(
    there: ElementTree.Element | None, wanted: ElementTree.Element | None, path: str
) -> Iterator[Difference]:
    if there is None or wanted is None:
        present = wanted if there is None else there
        if present is not None and not _is_default(present):
            text = _summary(present)
            yield Difference(path, None, text) if there is None else Difference(path, text, None)
        return
    if _class(there) != _class(wanted):
        yield Difference(path, _short(_class(there) or "(none)"), _short(_class(wanted) or "(none)"))
    if not len(there) and not len(wanted):
        old, new = _text(there), _text(wanted)
        if old != new and not (_is_default(there) and _is_default(wanted)):
            yield Difference(path, old, new)
        return
    for key, (old_child, new_child) in _pairs(there, wanted).items():
        yield from _differing(old_child, new_child, _below(path, key))
    if _is_ordered(there) and _is_ordered(wanted):
        yield from _reordered(there, wanted, path)


def _below(path: str, key: str) -> str:
    """The path of a child. A build's parameters are so common that theirs is shortened."""
    below = f"{path}/{key}" if path else key
    return "parameters" if below == PARAMETERS else below


def _pairs(
    there: ElementTree.Element, wanted: ElementTree.Element
) -> dict[str, tuple[ElementTree.Element | None, ElementTree.Element | None]]:
    """Children of both that stand for the same thing, by a key that a person can read."""
    old, new = _keyed(there), _keyed(wanted)
    return {key: (old.get(key), new.get(key)) for key in [*new, *(key for key in old if key not in new)]}


def _keyed(element: ElementTree.Element) -> dict[str, ElementTree.Element]:
    """Children by class and name, such as ``String[EPOCHS]`` for a parameter; the second of a key has a number."""
    found: dict[str, ElementTree.Element] = {}
    for child in element:
        key = _short(child.tag)
        name = child.find("name")
        if name is not None and name.text:
            key = f"{key.removesuffix('ParameterDefinition')}[{name.text}]"
        number = 1
        while (whole := key if number == 1 else f"{key}#{number}") in found:
            number += 1
        found[whole] = child
    return found


def _reordered(there: ElementTree.Element, wanted: ElementTree.Element, path: str) -> Iterator[Difference]:
    old, new = list(_keyed(there)), list(_keyed(wanted))
    if old != new and sorted(old) == sorted(new):
        yield Difference(f"{path} (order)", ", ".join(old), ", ".join(new))


def _is_ordered(element: ElementTree.Element) -> bool:
    """Whether an element is a list, whose children are classes; the fields of an object come in any order."""
    return element.tag not in UNORDERED and any("." in child.tag for child in element)


def _is_default(element: ElementTree.Element) -> bool:
    """Whether an element says no more than its absence does."""
    if element.get("class") and len(element):
        return False
    return all(_text(leaf) in _DEFAULTS for leaf in element.iter() if not len(leaf)) and not any(
        "." in child.tag for child in element
    )


def _class(element: ElementTree.Element) -> str | None:
    """The class that an element names. For collections Jenkins chooses it itself."""
    name = element.get("class")
    return (
        None
        if name is not None and re.match(r"java\.util\.|string-array\Z|(?:linked-)?(?:list|hash-set|vector)\Z", name)
        else name
    )


def _text(element: ElementTree.Element) -> str:
    text = (element.text or "").replace("\r\n", "\n")
    return text if text.strip() else ""


def _summary(element: ElementTree.Element) -> str:
    leaves = [_text(leaf) for leaf in element.iter() if not len(leaf) and leaf.tag != "name"]
    text = ", ".join(leaf for leaf in leaves if leaf not in _DEFAULTS)
    return text or ", ".join(_short(child.tag) for child in element) or _short(_class(element) or element.tag)


def _short(tag: str) -> str:
    """A class without its package."""
    return tag.rpartition(".")[2]


def _shown(text: str | None) -> str:
    if text is None:
        return "(none)"
    if _ENCRYPTED.match(text):
        return "(encrypted)"
    line = _plain(text)
    return repr(line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…")


def _plain(line: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in line)
