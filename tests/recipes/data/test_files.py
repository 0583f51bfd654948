import json

import pytest

from attnmask.errors import InputError
from attnmask.recipes.data.files import conversations, read

FIELDS = ("source", "target")


def write(path, text, encoding="utf-8"):
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return str(path)


def test_tsv_and_jsonl_and_parquet_hold_the_same(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = [("a 'word'", 'una "parola"'), ("two", "due\u2028")]
    wanted = [(one.strip(), two.strip()) for one, two in rows]
    tsv = write(tmp_path / "a.tsv", "".join(f"{one}\t{two}\r\n" for one, two in rows))
    jsonl = write(
        tmp_path / "a.jsonl",
        "\ufeff"
        + '{"source": "a \'word\'", "target": "una \\"parola\\""}\n{"source": "two", "target": "due\u2028", "more": 1}\n',
    )
    parquet = str(tmp_path / "a.parquet")
    datasets.Dataset.from_dict(dict(zip(FIELDS, zip(*rows, strict=True), strict=True))).to_parquet(parquet)
    assert read(tsv, FIELDS) == read(jsonl, FIELDS) == wanted
    assert read(parquet, FIELDS) == wanted


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "one\tuno\ntwo\nthree\ttre\n", r"a\.tsv, line 2: 1 columns"),
        ("a.tsv", "one\tuno\n\nthree\ttre\n", r"a\.tsv, line 2: 1 columns"),
        ("a.tsv", "one\tuno\ntwo\t \n", r"a\.tsv, line 2: ' '"),
        ("a.tsv", b"one\tuno\ntwo\td\xfce\n", r"a\.tsv, line 2: invalid start byte|line 2: invalid continuation"),
        ("a.jsonl", '{"source": "a", "target": "b"}\n{"source": "a"\n', r"a\.jsonl, line 2: "),
        ("a.jsonl", '{"source": "a"}\n', r"a\.jsonl, line 1: "),
        ("a.jsonl", '{"source": "a", "target": 3}\n', r"a\.jsonl, line 1: 3"),
        ("a.jsonl", "[1]\n", r"a\.jsonl, line 1: "),
        ("a.tsv", "", r"a\.tsv"),
    ],
)
def test_a_broken_line_is_named(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message):
        read(write(tmp_path / name, text), FIELDS)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no file"):
        read(str(tmp_path / "a.tsv"), FIELDS)


def test_a_broken_parquet_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"can be reached; got .*a\.parquet"):
        read(write(tmp_path / "a.parquet", "no table"), FIELDS)


def test_a_table_without_the_columns_is_refused(tmp_path):
    datasets = pytest.importorskip("datasets")
    path = str(tmp_path / "a.parquet")
    datasets.Dataset.from_dict({"source": ["a"], "goal": ["b"]}).to_parquet(path)
    with pytest.raises(InputError, match=r"the columns source, target; got .*: source, goal"):
        read(path, FIELDS)


def test_conversations_of_any_length(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = [["Hi", "Hello", "Bye"], ["How are you?", "Fine"]]
    parquet = str(tmp_path / "a.parquet")
    datasets.Dataset.from_dict({"turns": rows}).to_parquet(parquet)
    tsv = write(tmp_path / "a.tsv", "Hi\tHello\tBye\nHow are you?\tFine\n")
    jsonl = write(tmp_path / "a.jsonl", "".join(json.dumps({"turns": row}) + "\n" for row in rows))
    assert conversations(tsv) == conversations(jsonl) == conversations(parquet) == [tuple(row) for row in rows]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "Hi\tHello\nHi\n", "line 2: Hi"),
        ("a.tsv", "Hi\t\n", "line 1: ''"),
        ("a.jsonl", '{"turns": "Hi"}\n', "line 1: Hi"),
        ("a.jsonl", '{"turns": ["Hi", 3]}\n', "line 1: 3"),
        ("a.jsonl", '{"said": ["Hi", "Hello"]}\n', "line 1: "),
    ],
)
def test_a_broken_conversation_is_named(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message):
        conversations(write(tmp_path / name, text))
