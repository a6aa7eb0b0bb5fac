"""Values of JSON files are used only after their types are checked; errors name the file and the value."""
import dataclasses
import typing

import pytest

from reskeras.errors import name_damaged_file
from reskeras.json_reader import check_json_type, parse_json, read_json, to_dataclass


@dataclasses.dataclass(frozen=True)
class Part:
    share: float
    size: tuple[int, int] = (1, 1)


@dataclasses.dataclass(frozen=True)
class Whole:
    name: str
    parts: dict[str, Part]
    labels: str | tuple[str, ...] = ()
    best: float | None = None
    word: typing.Literal["a", "b"] = "a"
    is_done: bool = False
    rest: typing.Any = None

    def __post_init__(self):
        if self.name == "bad":
            raise ValueError("name='bad': expected a good one")


GOOD = {"called": "x", "parts": {"first": {"share": 1, "size": [2, 3]}}, "labels": ["cat"], "best": None,
        "word": "b", "is_done": True, "rest": [1, {}], "of a later version": 1}


def read(values):
    return to_dataclass(Whole, values, "net.json", {"name": "called"})


def test_values_of_the_right_types():
    whole = read(GOOD)
    assert whole == Whole("x", {"first": Part(1.0, (2, 3))}, ("cat",), None, "b", True, [1, {}])
    assert isinstance(whole.parts["first"].share, float)
    assert read({"called": "x", "parts": {}, "labels": "cifar10", "best": 2}).labels == "cifar10"


@pytest.mark.parametrize("change, message", [
    ({"called": 1}, r"^net\.json: 'called' is 1: expected a text$"),
    ({"called": "bad"}, r"^net\.json: name='bad': expected a good one$"),
    ({"parts": []}, r"'parts' is \[\]: expected a dictionary"),
    ({"parts": {"first": 3}}, r"'parts\.first' is 3: expected a dictionary"),
    ({"parts": {"first": {}}}, r"'share' is missing in 'parts\.first'"),
    ({"parts": {"first": {"share": True}}}, r"'parts\.first\.share' is True: expected a number"),
    ({"parts": {"first": {"share": 10 ** 400}}}, r"'parts\.first\.share' is 10+\.\.\.0+: expected a number"),
    ({"parts": {"first": {"share": 1, "size": [1]}}}, r"'parts\.first\.size' is \[1\]: expected a list of 2"),
    ({"parts": {"first": {"share": 1, "size": [1, 2.0]}}}, r"'parts\.first\.size\[1\]' is 2\.0: expected"),
    ({"labels": {}}, r"'labels' is \{\}: expected a text or a list"),
    ({"labels": ["a", None]}, r"'labels\[1\]' is None: expected a text"),
    ({"best": "1"}, r"'best' is '1': expected a number or null"),
    ({"word": "c"}, r"'word' is 'c': expected one of 'a', 'b'"),
    ({"is_done": 1}, r"'is_done' is 1: expected true or false")])
def test_wrong_values(change, message):
    with pytest.raises(ValueError, match=message):
        read({**GOOD, **change})


@pytest.mark.parametrize("values", [None, [], 3, "text"])
def test_no_dictionary(values):
    with pytest.raises(ValueError, match=r"^net\.json: .*expected a dictionary"):
        read(values)


def test_a_missing_key():
    with pytest.raises(ValueError, match=r"^net\.json: 'called' is missing$"):
        read({"parts": {}})


def test_one_value():
    assert check_json_type({"a": [1, 2]}, dict[str, tuple[int, ...]], "f", "x") == {"a": (1, 2)}
    with pytest.raises(ValueError, match=r"f: 'x\.a' is 'b': expected a whole number"):
        check_json_type({"a": "b"}, dict[str, int], "f", "x")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"NaN", b"[1e999]", b"-Infinity", b"[" * 100_000,
                                  b"1" * 10_000])
def test_no_json(data):
    with pytest.raises(ValueError, match=r"^net\.json is not JSON \(") as error:
        parse_json(data, "net.json")
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_infinity_where_python_may_have_written_it():
    assert parse_json("[Infinity, 1e999]", "config.json", allows_infinity=True) == [float("inf")] * 2


def test_a_file(tmp_path):
    file = tmp_path / "net.json"
    file.write_text('{"a": 1}')
    assert read_json(file) == {"a": 1}
    with pytest.raises(ValueError, match=r"net\.json has 8 bytes; at most 3"):
        read_json(file, max_bytes=3)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "other.json")


def test_a_damaged_file_is_one_line():
    with pytest.raises(ValueError,
                       match=r"^net\.x cannot be read as a net \(OSError: a\\x1b\[31m b\); do it"):
        with name_damaged_file("net.x", "a net", "do it again"):
            raise OSError("a\x1b[31m\n b")
    with pytest.raises(FileNotFoundError):
        with name_damaged_file("net.x", "a net"):
            open("net.x")
