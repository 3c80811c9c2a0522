"""Which files of a code folder are left out, in the syntax of .gitignore.

The rules are those of gitignore(5), with one simplification: only the file in the folder's root is read, not those in
sub-folders or in the user's Git configuration. The last rule that matches decides; nothing below an ignored folder
can be taken back in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

IGNORE_FILES = (".toprungignore", ".gitignore")
"""The first one that exists is read."""

ALWAYS_IGNORED = """
.git
.hg
.svn
.toprung
.venv
node_modules
__pycache__
*.py[co]
.*_cache
.cache
.hypothesis
.nox
.tox
.ipynb_checkpoints
.DS_Store
.#*
.env
""".splitlines()
"""Never code, or not meant to leave the machine. Nothing takes them back in: the usual `*`, `!*/`, `!*.py` would."""


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    ignore: bool
    folders_only: bool


class IgnoreRules:
    """Answers whether a path is left out."""

    def __init__(self, lines: list[str]) -> None:
        self._rules = _parsed(lines)

    @classmethod
    def of(cls, folder: Path) -> IgnoreRules:
        """The rules of the folder's ignore file."""
        for name in IGNORE_FILES:
            if (file := folder / name).is_file():
                return cls(file.read_text(encoding="utf-8", errors="replace").splitlines())
        return cls([])

    def ignores(self, path: str, *, is_folder: bool) -> bool:
        """Whether `path`, relative to the folder and with "/" between its parts, is left out."""
        for rule in (*_ALWAYS, *reversed(self._rules)):
            if (is_folder or not rule.folders_only) and rule.pattern.fullmatch(path):
                return rule.ignore
        return False


def _parsed(lines: list[str]) -> list[_Rule]:
    return [rule for line in lines if (rule := _parse(line)) is not None]


def _parse(line: str) -> _Rule | None:
    if not line.strip() or line.startswith("#"):
        return None
    text = re.sub(r"(?<!\\) +$", "", line)
    ignore = not text.startswith("!")
    text = text if ignore else text[1:]
    folders_only = text.endswith("/")
    text = text.removesuffix("/")
    if not text:
        return None
    anchored = "/" in text
    prefix = "" if anchored else "(?:.*/)?"
    try:
        return _Rule(re.compile(prefix + _regex(text.removeprefix("/")), re.DOTALL), ignore, folders_only)
    except re.error:  # such as [z-a]: matches nothing, as in Git
        return None


_TOKENS = re.compile(
    r"(?P<folders>(?:^|(?<=/))\*\*+/)|(?P<below>(?<=/)\*\*+$)|(?P<any>\*+)|\?|\\(?P<literal>.)|(?P<set>\[!?\]?[^\]]*\])|."
)
"""More than two asterisks are to Git what two are (wildmatch.c)."""


def _regex(glob: str) -> str:
    return "".join(_translated(token) for token in _TOKENS.finditer(glob))


def _translated(token: re.Match[str]) -> str:
    match token.lastgroup:
        case "folders":
            return "(?:.*/)?"
        case "below":
            return ".+"
        case "any":
            return "[^/]*"
        case "literal":
            return re.escape(token["literal"])
        case "set":
            inside = token["set"][1:-1].replace("\\", "\\\\").replace("[", "\\[")
            negated = inside.startswith("!")
            return f"(?!/)[{'^' if negated else ''}{inside[negated:]}]"
    return "[^/]" if token[0] == "?" else re.escape(token[0])


_ALWAYS = _parsed(ALWAYS_IGNORED)
