"""Filter expressions: which trials, in a line that reads like Python.

    val_loss < 0.2 and optimizer == "adam"
    state in ("completed", "running") and not (model.depth > 4)
    0.001 <= lr < 0.01 or momentum == null

Names are columns, those of groups with a dot or a slash (`model.depth`, `model/depth`); one that is no name in Python
stands in backticks (`` `val loss` ``). Values are numbers, quoted text, true, false and null. What has no value is
equal to null alone, different from everything else, and neither smaller nor larger than anything. `"memory" in reason`
asks for a part of a text; a column alone asks whether it has a value other than false, 0 and "".

Parsed by Python's own parser, then walked: what is not in the list below is refused, nothing is ever executed.
"""

from __future__ import annotations

import ast
import difflib
import operator
import re
from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np

from toprung.errors import Malformed, Problem
from toprung.figures.columns import Column, Columns, Labels, Mask, Numbers

MOST_CHARS = 2_000
_MOST_NODES = 400
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Is: operator.eq,
    ast.IsNot: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ORDERINGS = (operator.lt, operator.le, operator.gt, operator.ge)
_WORDS = {"null": None, "true": True, "false": False, "nan": None}
_BACKTICKS = re.compile(r"`([^`]*)`")
_OPERATORS = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`|&&|\|\||!(?!=)|(?<![<>=!])=(?!=)")
_INSTEAD = {"&&": "and", "||": "or", "!": "not", "=": "=="}


def matching(expression: str, columns: Columns) -> Mask:
    """Which trials an expression is true of; the empty one is true of all.

    Raises:
        Malformed: it can't be read, or names what is no column; says where, and what to write instead.
    """
    if not expression.strip():
        return np.ones(len(columns), np.bool_)
    return _Filter(expression, columns).mask()


class _Filter:
    def __init__(self, expression: str, columns: Columns) -> None:
        self._text = expression
        self._columns = columns
        self._quoted: dict[str, str] = {}

    def mask(self) -> Mask:
        if len(self._text) > MOST_CHARS:
            raise self._wrong(f"is too long; {MOST_CHARS:,} characters are possible", 0)
        if (unclosed := self._text.count("`") % 2) == 1:
            raise self._wrong("has a backtick without its other one", self._text.rindex("`") * unclosed)
        for found in _OPERATORS.finditer(self._text):
            if (instead := _INSTEAD.get(found[0])) is not None:
                raise self._wrong(f"has {found[0]!r}", found.start(), f"write {instead}")
        tree = self._parsed()
        if sum(1 for _ in ast.walk(tree)) > _MOST_NODES:
            raise self._wrong("has too many parts", 0, "use `in (…)` for a choice of values")
        return self._truth(tree.body)

    def _parsed(self) -> ast.Expression:
        # of the same length, so that positions stay true
        self._code = _BACKTICKS.sub(self._stand_in, self._text)
        try:
            return ast.parse(self._code.replace("\n", " ").lstrip(), mode="eval")
        except SyntaxError as error:
            # 0: it ended too early
            at = error.offset - 1 + self._indent if error.offset else len(self._text)
            raise self._wrong(f"cannot be read: {error.msg}", min(at, max(len(self._text) - 1, 0))) from None
        except (ValueError, MemoryError, RecursionError):
            raise self._wrong("cannot be read", 0) from None

    @property
    def _indent(self) -> int:
        return len(self._code) - len(self._code.lstrip())

    def _stand_in(self, found: re.Match[str]) -> str:
        name = f"_{len(self._quoted)}".ljust(len(found[0]), "_")
        self._quoted[name] = found[1]
        return name

    def _wrong(self, message: str, at: int, hint: str | None = None) -> Malformed:
        problem = Problem("/query/filter", "bad_filter", message, hint, 1, at + 1)
        more = f"; {hint}" if hint else "."
        return Malformed(f"The filter {message}, at position {at + 1}{more}", problems=[problem])

    def _at(self, node: ast.expr) -> int:
        before = self._code.replace("\n", " ").lstrip().encode()[: node.col_offset]
        return len(before.decode()) + self._indent

    # conditions: a mask for each

    def _truth(self, node: ast.expr) -> Mask:
        match node:
            case ast.BoolOp(op=op, values=values):
                masks = [self._truth(value) for value in values]
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return cast(Mask, join.reduce(masks))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ~self._truth(operand)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                sides = [left, *comparators]
                masks = [self._comparison(op, *sides[i : i + 2]) for i, op in enumerate(ops)]
                return cast(Mask, np.logical_and.reduce(masks))
        value = self._operand(node)
        if isinstance(value, Numbers):
            return cast(Mask, ~value.null() & (value.values != 0))
        if isinstance(value, Labels):
            return _by_level(value, bool)
        return self._all(bool(value))

    def _comparison(self, op: ast.cmpop, left: ast.expr, right: ast.expr) -> Mask:
        if isinstance(op, ast.In | ast.NotIn):
            inside = self._inside(left, right)
            return inside if isinstance(op, ast.In) else ~inside
        compare = _COMPARISONS[type(op)]
        one, other = self._operand(left), self._operand(right)
        if isinstance(one, Numbers | Labels) and isinstance(other, Numbers | Labels):
            return _columns_compared(compare, one, other)
        if isinstance(one, Numbers | Labels):
            self._check_order(compare, one, other, right)
            return _compared(compare, one, other)
        if isinstance(other, Numbers | Labels):
            self._check_order(compare, other, one, left)
            return _compared(lambda a, b: compare(b, a), other, one, compare in _ORDERINGS)
        return self._all(_holds(compare, one, other, compare in _ORDERINGS))

    def _check_order(self, compare: Callable[[Any, Any], Any], column: Column, value: Any, node: ast.expr) -> None:
        if compare not in _ORDERINGS or value is None:
            return
        if isinstance(column, Numbers) and isinstance(value, str) and not column.null().all():
            raise self._wrong("compares numbers with a text", self._at(node), "write the number without quotes")
        only_text = isinstance(column, Labels) and column.levels and all(isinstance(v, str) for v in column.levels)
        if only_text and not isinstance(value, str):
            raise self._wrong("compares a text with a number", self._at(node), "put the text in quotes")

    def _inside(self, left: ast.expr, right: ast.expr) -> Mask:
        one = self._operand(left)
        if not isinstance(right, ast.Tuple | ast.List | ast.Set):
            column = self._operand(right)
            if isinstance(one, str) and isinstance(column, Labels):
                return _by_level(column, lambda level: isinstance(level, str) and one in level)
            hint = 'write name in ("a", "b"), or "part" in name'
            raise self._wrong("has no list after `in`", self._at(right), hint)
        choices = [self._operand(choice) for choice in right.elts]
        found = self._all(False)
        for choice, node in zip(choices, right.elts, strict=True):
            if isinstance(choice, Numbers | Labels):
                raise self._wrong("has a column in a list", self._at(node), "write the values")
            same = (
                _compared(operator.eq, one, choice) if isinstance(one, Numbers | Labels) else self._all(one == choice)
            )
            found |= same
        return found

    def _all(self, value: bool) -> Mask:
        return np.full(len(self._columns), value)

    # operands: a column or a value

    def _operand(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value) if value is None or isinstance(value, bool | int | float | str):
                return value
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=ast.Constant(value=int() | float() as value)):
                return -value if isinstance(op, ast.USub) else value
            case ast.Name(id=name) if name in _WORDS and name not in self._columns:
                return _WORDS[name]
            case ast.Name() | ast.Attribute() | ast.BinOp():
                return self._column(node)
            case ast.Call():
                raise self._wrong("calls a function", self._at(node), "compare columns with values")
            case ast.Tuple() | ast.List() | ast.Set():
                raise self._wrong("has a list here", self._at(node), "lists stand after `in`")
            case ast.BoolOp() | ast.Compare() | ast.UnaryOp():
                raise self._wrong("compares a condition", self._at(node), "join conditions by and, or, not")
        raise self._wrong("has something here that is not part of filters", self._at(node))

    def _column(self, node: ast.expr) -> Column:
        source = ast.get_source_segment(self._code.replace("\n", " ").lstrip(), node) or ""
        name = self._quoted.get(source, source)
        for spelt in (name, name.replace(".", "/"), re.sub(r"\s*([/.-])\s*", r"\1", name)):
            if spelt in self._columns:
                return self._columns[spelt]
        if isinstance(node, ast.BinOp):
            hint = "a name with such signs stands in backticks"
            raise self._wrong(f"calculates ({source}), which filters don't", self._at(node), hint)
        known = list(self._columns.names())
        close = _close(name, known)
        if close:
            hint = f"did you mean {' or '.join(map(quoted, close))}?"
        elif self._is_level(name):
            hint = f'put text in quotes: "{name}"'
        else:
            hint = f"there are {', '.join(known[:12])}{', …' if len(known) > 12 else ''}"
        raise self._wrong(f"names {name}, which is no column", self._at(node), hint)

    def _is_level(self, name: str) -> bool:
        columns = (self._columns[known] for known in self._columns.names())
        return any(name in column.levels for column in columns if isinstance(column, Labels))


def quoted(name: str) -> str:
    """A column's name as an expression has it."""
    plain = all(part.isidentifier() for part in re.split(r"[./]", name)) and not _is_keyword(name)
    return name if plain else f"`{name}`"


def _is_keyword(name: str) -> bool:
    try:
        return not isinstance(ast.parse(name, mode="eval").body, ast.Name | ast.Attribute | ast.BinOp)
    except SyntaxError:
        return True


def _close(name: str, known: Iterable[str]) -> list[str]:
    """Columns that may have been meant: spelt alike, or of that name in a group."""
    names = list(known)
    spelt = difflib.get_close_matches(name.replace(".", "/"), names, n=2)
    return spelt or [full for full in names if full.rpartition("/")[2] == name][:2]


def _compared(compare: Callable[[Any, Any], Any], column: Column, value: Any, ordering: bool | None = None) -> Mask:
    """A column against a value."""
    orders = compare in _ORDERINGS if ordering is None else ordering
    if isinstance(column, Labels):
        return _by_level(column, lambda level: _holds(compare, level, value, orders))
    null = column.null()
    if value is None or isinstance(value, str):
        # numbers against null or text: the same for all that are there
        there = _holds(compare, 0.0, value, orders)
        return np.where(null, _holds(compare, None, value, orders), there)
    try:
        number = float(value)
    except OverflowError:
        number = float("inf") if value > 0 else float("-inf")
    found: Mask = np.where(null, _holds(compare, None, number, orders), compare(column.values, number))
    return found


def _columns_compared(compare: Callable[[Any, Any], Any], one: Column, other: Column) -> Mask:
    orders = compare in _ORDERINGS
    if isinstance(one, Numbers) and isinstance(other, Numbers):
        missing = one.null() | other.null()
        both = one.null() & other.null()
        if orders:
            return cast(Mask, compare(one.values, other.values) & ~missing)
        equal = np.where(missing, both, one.values == other.values)
        return equal if compare is operator.eq else ~equal
    everywhere = np.arange(len(one.null()))
    pairs = zip(one.pick(everywhere), other.pick(everywhere), strict=True)
    return np.array([_holds(compare, a, b, orders) for a, b in pairs], np.bool_)


def _by_level(column: Labels, test: Callable[[Any], Any]) -> Mask:
    """Tested once for each level."""
    levels = column.levels[:]
    outcomes = np.array([*(bool(test(level)) for level in levels), bool(test(None))], np.bool_)
    found: Mask = outcomes[column.codes]  # -1, null, finds the last one
    return found


def _holds(compare: Callable[[Any, Any], Any], one: Any, other: Any, ordering: bool) -> bool:
    """One value against another: of different kinds nothing is smaller or larger."""
    if ordering and (one is None or other is None or isinstance(one, str) != isinstance(other, str)):
        return False
    return bool(compare(one, other))
