"""Relations between parameters: a small expression language, parsed and walked, never evaluated as Python.

`l2 <= l1`, `lr * batch_size < 10 and optimizer != 'sgd'`, `model.width in [32, 64]`, `log10(lr) < -2`. A name is a
parameter or a constant; parameters of a group are written with dots.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_LENGTH = 1_000
_MAX_NODES = 200
_MAX_EXPONENT = 64

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "sqrt": math.sqrt,
    "log": math.log,
    "log2": math.log2,
    "log10": math.log10,
}


@dataclass(frozen=True)
class Relation:
    """A parsed relation.

    Attributes:
        text: as the user wrote it.
        names: the parameters and constants it refers to, nested ones joined by "/".
    """

    text: str
    names: frozenset[str]
    _tree: ast.expr

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the relation is met. One that refers to a name without a value (an inactive parameter) is met;
        one whose arithmetic fails (division by zero, text and number compared) is not."""
        if any(name not in values for name in self.names):
            return True
        try:
            return bool(_value(self._tree, values))
        except (ArithmeticError, TypeError, ValueError):
            return False


def parse(text: str) -> Relation:
    """Parses a relation.

    Raises:
        ValueError: it is not one; the message says what is not allowed.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"cannot be read: {getattr(error, 'msg', error)}") from error
    if sum(1 for _ in ast.walk(tree)) > _MAX_NODES:
        raise ValueError("is too long; split it into several relations")
    names: set[str] = set()
    _check(tree, names)
    if not names:
        raise ValueError("refers to no parameter")
    if not isinstance(tree, ast.Compare | ast.BoolOp | ast.UnaryOp):
        raise ValueError("is not a comparison, such as l2 <= l1")
    return Relation(text, frozenset(names), tree)


def _check(node: ast.expr, names: set[str]) -> None:
    match node:
        case ast.BoolOp(values=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts):
            pass
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=operand):
            parts = [operand]
        case ast.Compare(left=left, comparators=others):
            parts = [left, *others]
            if any(type(op) not in _COMPARE for op in node.ops):
                raise ValueError("has a comparison that is not allowed (use < <= > >= == != in)")
        case ast.BinOp(left=left, right=right, op=op) if type(op) in _ARITHMETIC:
            parts = [left, right]
        case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]) if function in _FUNCTIONS:
            parts = arguments
        case ast.Constant(value=bool() | int() | float() | str() | None):
            return
        case ast.Name() | ast.Attribute():
            names.add(_name(node))
            return
        case ast.Call():
            raise ValueError(f"calls a function that is not allowed; there are {', '.join(sorted(_FUNCTIONS))}")
        case _:
            raise ValueError(f"has something that is not allowed: {ast.unparse(node)[:60]}")
    for part in parts:
        _check(part, names)


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=inner, attr=name):
            return f"{_name(inner)}/{name}"
        case _:
            raise ValueError(f"has something that is not allowed: {ast.unparse(node)[:60]}")


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name() | ast.Attribute():
            return values[_name(node)]
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item, values) for item in items]
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(part, values) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_value(part, values) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, values)
        case ast.UnaryOp(op=op, operand=operand):
            value = _value(operand, values)
            return -value if isinstance(op, ast.USub) else +value
        case ast.Call(func=ast.Name(id=function), args=arguments):
            return _FUNCTIONS[function](*(_value(argument, values) for argument in arguments))
        case ast.BinOp(left=left, right=right, op=op):
            return _calculate(op, _value(left, values), _value(right, values))
        case ast.Compare(left=left, ops=ops, comparators=others):
            operands = [_value(part, values) for part in (left, *others)]
            return all(_COMPARE[type(op)](operands[i], operands[i + 1]) for i, op in enumerate(ops))
    raise AssertionError(f"unchecked node {node!r}")


def _calculate(op: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(left, str | list) or isinstance(right, str | list):
        raise TypeError("arithmetic is for numbers")
    if isinstance(op, ast.Pow):
        if abs(right) > _MAX_EXPONENT:
            raise OverflowError("the exponent is too large")
        left = float(left)  # whole numbers would grow without bound
    return _ARITHMETIC[type(op)](left, right)
