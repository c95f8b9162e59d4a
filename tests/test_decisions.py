"""decisions.csv is read whole or refused with a line that names what is wrong."""

import csv

import pytest

from vggfeat.decisions import Decision, read_decisions, write_decisions
from vggfeat.errors import DataError

HEADER = "path,decision,label,reason\n"


def test_decisions_come_back_as_they_were_written(tmp_path):
    decisions = {
        "a, b/ü\n1.jpg": Decision("remove", "", 'blurred, "very"'),
        "b.jpg": Decision("relabel", "Katze"),
        "c.jpg": Decision("keep"),
    }
    write_decisions(tmp_path / "d.csv", decisions)
    assert read_decisions(tmp_path / "d.csv") == decisions
    with (tmp_path / "d.csv").open(newline="", encoding="utf-8") as lines:
        assert next(csv.reader(lines)) == ["path", "decision", "label", "reason"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,decision\n", "its columns are not path,decision,label,reason"),
        (f"{HEADER}a,burn,,\n", "row 1: 'burn' is no decision; take one of keep, remove, relabel"),
        (f"{HEADER}a,keep,,\na,remove,,\n", "row 2: a has a decision already"),
        (f"{HEADER}a,relabel,,\n", "row 1: a label belongs to the decision relabel"),
        (f"{HEADER}a,keep,cat,\n", "row 1: a label belongs to the decision relabel"),
        (f"{HEADER},keep,,\n", "row 1: a path has 1 to 4,100 characters, not 0"),
        (f"{HEADER}a,keep,,{'x' * 1001}\n", "row 1: a text of 1,001 characters; at most 1,000 are allowed"),
        (f"{HEADER}a,keep\n", "row 1 has 2 values for 4 columns"),
        ("\xff", "its columns are not"),
    ],
)
def test_an_invalid_table_is_refused(tmp_path, text, reason):
    file = tmp_path / "d.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as refused:
        read_decisions(file)
    assert str(refused.value).startswith(f"{file}: cannot be read (")
    assert reason in str(refused.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_decisions(tmp_path / "d.csv")
