"""JSON given on a command line: what json-c takes and refuses (each was tried with the real `ubus`)."""

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.ubus.blobmsg_json import parse_table
from tools.ubus.json_text import parse_json
from ubus_py import UsageError

TAKEN = [
    ("{}", {}),
    ('{"a":1}}', {"a": 1}),
    ('{"a":1} x', {"a": 1}),
    ('{"a":1}{"b":2}', {"a": 1}),
    ("{'a':'b'}", {"a": "b"}),
    ("{'a\"':'b\"'}", {'a"': 'b"'}),
    ('{"a":1,}', {"a": 1}),
    ('{"a":[1,]}', {"a": [1]}),
    ('{"a":TRUE,"b":False,"c":Null}', {"a": True, "b": False, "c": None}),
    ('{"a":007,"b":-01,"c":-0}', {"a": 7, "b": -1, "c": 0}),
    ('{"a":1.,"b":1e,"c":1e+,"d":-.5}', {"a": 1.0, "b": 1.0, "c": 1.0, "d": -0.5}),
    ('{"a":infinity,"b":-Infinity}', {"a": math.inf, "b": -math.inf}),
    ('{"a":"x\\u0000y","b\\u0000c":1}', {"a": "x", "b": 1}),
    ('{"a":"tab\there","b":"line\nbreak","c":"\x01"}', {"a": "tab\there", "b": "line\nbreak", "c": "\x01"}),
    ('/* c */ {"a":/* c */1} // c', {"a": 1}),
    ('// c\n{"a":1}', {"a": 1}),
    ('{"a":"\\ud834\\udd1e \\ud834x \\udd1e\\ud834"}', {"a": "𝄞 �x ��"}),
    ('{"a":1,"b":2,"a":3}', {"a": 3, "b": 2}),
    ('{"a":99999999999999999999,"b":-9223372036854775809}', {"a": 2**63 - 1, "b": -(2**63)}),
    ('{"a":"\\b\\f\\n\\r\\t\\/\\\\"}', {"a": "\b\f\n\r\t/\\"}),
    ('{"a":' * 31 + "1" + "}" * 31, None),
    ('{"a":' + "[" * 31 + "]" * 31 + "}", None),
]

REFUSED = [
    *(
        "",
        "   ",
        "{",
        '{"a":1',
        "{a:1}",
        '{"a"}',
        '{"a":}',
        "{1:2}",
        "{,}",
        '{,"a":1}',
        '{"a":1,,"b":2}',
        '{"a":[,]}',
    ),
    *(
        '{"a":+5}',
        '{"a":.5}',
        '{"a":-}',
        '{"a":- 5}',
        '{"a":--5}',
        '{"a":1.5.5}',
        '{"a":1e5e}',
        '{"a":12abc}',
        '{"a":0x10}',
    ),
    *(
        '{"a":inf}',
        '{"a":-nan}',
        '{"a":NaN1}',
        '{"a":tru}',
        '{"a":nullx}',
        '{"a":1_000}',
        '{"a":١}',
        '{"a":1;}',
        '{"a":1/ }',
    ),
    *(
        '{"a":"\\x"}',
        '{"a":"\\v"}',
        '{"a":"\\u12"}',
        '{"a":"\\u12g4"}',
        '{"a":"open}',
        "{\"a\":'it\\'s'}",
        '{"a":"b""c"}',
    ),
    *('\x0b{"a":1}', '\ufeff{"a":1}', "# c", "[1,2]", "5", '"x"', "null", "[1]x"),
    '{"a":' * 32 + "1" + "}" * 32,
    '{"a":' + "[" * 32 + "]" * 32 + "}",
    '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
]


@pytest.mark.parametrize(("text", "value"), TAKEN)
def test_what_json_c_takes(text: str, value: dict[str, Any] | None) -> None:
    table = parse_table(text)
    assert value is None or table == value


@pytest.mark.parametrize("text", REFUSED)
def test_what_json_c_refuses(text: str) -> None:
    with pytest.raises(UsageError):
        parse_table(text)


def test_not_a_number_in_any_case() -> None:
    assert all(math.isnan(float(str(item))) for item in parse_table('{"a":NaN,"b":nan}').values())


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text("abcè"), inner), max_leaves=20
)


@given(value=_VALUES, ascii_only=st.booleans(), indent=st.none() | st.just(2))
def test_every_json_value_is_read_as_python_reads_it(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert parse_json(text) == json.loads(text)


@given(text=st.text("{}[]'\",:\\/*u0123e+-. \ntfnaul"))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse_json(text)
