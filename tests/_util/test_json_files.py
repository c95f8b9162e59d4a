"""JSON files from outside: typed, bounded, and refused in one line."""

import json
import math
import os
from dataclasses import dataclass, field

import pytest

from vggfeat._util.json_files import checked, parse_json, read_json


@dataclass(frozen=True)
class Facts:
    name: str
    sizes: list[int] = field(default_factory=list)


def test_a_value_of_the_type(tmp_path):
    (tmp_path / "facts.json").write_text('{"name": "caf\\u00e9", "sizes": [1, 2], "later": true}')
    assert read_json(tmp_path / "facts.json", Facts) == Facts("café", [1, 2])


def test_what_json_writes_is_read():
    value = {"nan": math.nan, "name": "\udce9.jpg", "big": 2**70}
    read = parse_json(json.dumps(value), dict[str, object])
    assert math.isnan(read.pop("nan"))
    assert read == {"name": "\udce9.jpg", "big": 2**70}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"name": 3}', "Expected 'str', got 'int' - at 'name'"),
        ('{"name": "a", "sizes": [1, "2"]}', r"at 'sizes\[1\]'"),
        ("{}", "missing required field 'name'"),
        ("[]", "Expected 'object', got 'array'"),
        ('{"name": ', "Expecting value"),
        (b'{"name": "\xff"}', "not UTF-8 text"),
        ("", "Expecting value"),
        ("[" * 10**6, "nested too deeply"),
        ('{"a":' * 10**6, "nested too deeply"),
        ("9" * 10**5, "Exceeds the limit"),
    ],
)
def test_other_content_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason) as refused:
        parse_json(text, Facts)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_too_large(tmp_path):
    (tmp_path / "facts.json").write_text(json.dumps({"name": "a" * 100}))
    with pytest.raises(ValueError, match="more than 100 bytes"):
        read_json(tmp_path / "facts.json", Facts, max_bytes=100)


def test_a_pipe_and_a_missing_file(tmp_path):
    os.mkfifo(tmp_path / "facts.json")
    with pytest.raises(OSError, match="not a regular file"):
        read_json(tmp_path / "facts.json", Facts)
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        read_json(tmp_path / "none.json", Facts)


def test_json_that_is_nested_deeply_is_refused():
    """Python could read it, but neither write it with an indent nor show it."""
    for depth in (33, 900, 100_000):
        with pytest.raises(ValueError, match="nested too deeply"):
            parse_json("[" * depth + "]" * depth, list)
    assert parse_json("[" * 32 + "]" * 32, list)


def test_a_value_is_checked_and_keeps_its_further_keys():
    value = parse_json('{"a": 1, "b": 2}', dict[str, int])
    assert checked(value, dict[str, int]) == value
    with pytest.raises(ValueError, match=r"Expected 'str', got 'int' - at '\[\.\.\.\]'"):
        checked(value, dict[str, str])
