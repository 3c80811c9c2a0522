"""Filter expressions: evaluated over columns as a row at a time would be; mistakes in words."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.figures.figures_help import columns_of

from toprung.errors import Malformed
from toprung.figures.columns import Columns
from toprung.figures.filters import matching, quoted

NAMES = ("x", "n", "opt", "model/depth")
NUMBERS = st.sampled_from([None, 0.0, 1.5, -2.0, 3.0])
WHOLE = st.sampled_from([None, 0, 1, 2, 7])
TEXTS = st.sampled_from([None, "adam", "sgd", "", "a'b"])
MIXED = st.sampled_from([None, True, False, "adam", 1])
ROWS = st.lists(
    st.fixed_dictionaries({"x": NUMBERS, "n": WHOLE, "opt": TEXTS, "model/depth": MIXED}), min_size=1, max_size=6
)
VALUES = st.sampled_from([None, True, False, 0, 1, 2, 1.5, -2.0, "adam", "sgd", "", "a'b"])
ORDERINGS = ("<", "<=", ">", ">=")
OPERATORS = {"==": operator.eq, "!=": operator.ne} | dict(
    zip(ORDERINGS, (operator.lt, operator.le, operator.gt, operator.ge), strict=True)
)

Expression = tuple[Any, ...]
EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    st.one_of(
        st.tuples(st.just("compare"), st.sampled_from(NAMES), st.sampled_from([*OPERATORS]), VALUES),
        st.tuples(st.just("columns"), st.sampled_from(NAMES), st.sampled_from([*OPERATORS]), st.sampled_from(NAMES)),
        st.tuples(st.just("in"), st.sampled_from(NAMES), st.lists(VALUES, max_size=3), st.booleans()),
        st.tuples(st.just("column"), st.sampled_from(NAMES)),
        st.tuples(st.just("part"), st.sampled_from(["a", "d", ""])),
    ),
    lambda inner: st.one_of(
        st.tuples(st.just("and"), inner, inner),
        st.tuples(st.just("or"), inner, inner),
        st.tuples(st.just("not"), inner),
    ),
    max_leaves=6,
)


def written(expression: Expression) -> str:
    match expression:
        case "compare", name, op, value:
            return f"{name} {op} {value!r}"
        case "columns", name, op, other:
            return f"{name} {op} {other.replace('/', '.')}"
        case "in", name, values, turned:
            return f"{name} {'not in' if turned else 'in'} {values!r}"
        case "column", name:
            return str(name)
        case "part", text:
            return f"{text!r} in opt"
        case "not", inner:
            return f"not ({written(inner)})"
    return f"({written(expression[1])}) {expression[0]} ({written(expression[2])})"


def holds(expression: Expression, row: Mapping[str, Any]) -> bool:
    """The same, of one row."""
    match expression:
        case "compare", name, op, value:
            return compared(op, row[name], value)
        case "columns", name, op, other:
            return compared(op, row[name], row[other])
        case "in", name, values, turned:
            return bool((row[name] in values) != turned)
        case "column", name:
            return bool(row[name])
        case "part", text:
            return isinstance(row["opt"], str) and text in row["opt"]
        case "not", inner:
            return not holds(inner, row)
        case "and", one, other:
            return holds(one, row) and holds(other, row)
    return holds(expression[1], row) or holds(expression[2], row)


def compared(op: str, one: Any, other: Any) -> bool:
    if op in ORDERINGS and (one is None or other is None or isinstance(one, str) != isinstance(other, str)):
        return False
    return bool(OPERATORS[op](one, other))


@given(rows=ROWS, expression=EXPRESSIONS)
def test_columns_give_what_each_row_gives(rows: list[dict[str, Any]], expression: Expression) -> None:
    found: list[bool] | str
    try:
        found = matching(written(expression), columns_of(rows)).tolist()
    except Malformed as error:
        found = error.detail
    # a text is not compared with a number where a column has but one of them
    assert "compares" in found if isinstance(found, str) else found == [holds(expression, row) for row in rows]


@pytest.fixture
def columns() -> Columns:
    return columns_of(
        [
            {"lr": 0.1, "optimizer": "adam", "model/depth": 2, "val loss": 1.0, "use": True},
            {"lr": 0.01, "optimizer": "sgd", "momentum": 0.9, "model/depth": 5, "val loss": 0.5, "use": False},
        ]
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("", [True, True]),
        ("lr < 0.05 and optimizer == 'sgd'", [False, True]),
        ("0.05 <= lr < 1", [True, False]),
        ("momentum is null", [True, False]),
        ("momentum != None", [False, True]),
        ("model.depth > 3", [False, True]),
        ("model/depth > 3", [False, True]),
        ("`val loss` < 0.7", [False, True]),
        ("  use", [True, False]),
        ("not use", [False, True]),
        ("state in ('completed', 'running')", [True, True]),
        ("number in [0]", [True, False]),
        ('"ada" in optimizer', [True, False]),
        ("lr < -1e-3 or lr > 0.05", [True, False]),
        ("lr\n< 0.05", [False, True]),
        ("lr < 1" + "0" * 400, [True, True]),
    ],
)
def test_what_is_possible(columns: Columns, expression: str, expected: list[bool]) -> None:
    assert matching(expression, columns).tolist() == expected


@pytest.mark.parametrize(
    ("expression", "column", "says"),
    [
        ("optimiser == 'adam'", 1, "did you mean optimizer?"),
        ("depth > 2", 1, "did you mean model/depth?"),
        ("lr < 0.1 and loss < 2", 14, "did you mean `val loss`?"),
        ("lr < 0.1 and weights < 2", 14, "there are number, state"),
        ("optimizer == adam", 14, 'put text in quotes: "adam"'),
        ("lr = 0.1", 4, "write =="),
        ("lr < 1 && lr > 0", 8, "write and"),
        ("!use", 1, "write not"),
        ("lr <", 4, "cannot be read"),
        ("(lr < 1", 1, "cannot be read"),
        ("lr < '1'", 6, "without quotes"),
        ("optimizer > 3", 13, "in quotes"),
        ("lr + 1 < 2", 1, "calculates"),
        ("__import__('os')", 1, "calls a function"),
        ("lr < (lambda: 1)", 7, "not part of filters"),
        ("[lr for x in y]", 1, "not part of filters"),
        ("optimizer.__class__ == 1", 1, "no column"),
        ("`lr < 1", 1, "backtick"),
        ("lr in 3", 7, "no list after `in`"),
        ("(lr < 1) == true", 2, "join conditions"),
        ("é < 1", 1, "no column"),
        ("'é' == optimizer and x < 1", 22, "no column"),
        ("lr < 1 or " * 300 + "lr < 1", 1, "too long"),
        ("(" * 500 + "lr" + ")" * 500, 201, "cannot be read"),
        ("a\0b", 3, "cannot be read"),
    ],
)
def test_mistakes_are_told_with_their_place(columns: Columns, expression: str, column: int, says: str) -> None:
    with pytest.raises(Malformed) as raised:
        matching(expression, columns)

    (problem,) = raised.value.problems
    assert says in raised.value.detail
    assert (problem.pointer, problem.code, problem.column) == ("/query/filter", "bad_filter", column)


@given(name=st.text(min_size=1, max_size=8).filter(lambda name: "`" not in name and name.strip()))
def test_a_quoted_name_is_its_column(name: str) -> None:
    columns = columns_of([{name: 1.0}, {name: 2.0}])

    assert matching(f"{quoted(columns.param_column(name))} > 1.5", columns).tolist() == [False, True]
