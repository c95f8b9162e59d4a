"""What is left out is counted: one line for each reason, in little memory."""

from vggfeat._util.left_out import LeftOut


def test_many_suffixes_are_counted_up_to_a_limit_and_a_name_takes_one_line():
    left_out = LeftOut()
    for i in range(5000):
        left_out.add_file("files", f"a\nb.{i:04}")
    assert left_out.lines() == [r"files: 5,000 (.0000, .0001, .0002, .0003, 996 more), such as a\nb.0000"]


def test_reasons_are_sorted_and_expected_names_are_not_counted():
    left_out = LeftOut(["known.txt"])
    left_out.add("links", "b", "a", "known.txt")
    left_out.add("folders", "c", count=7)
    left_out.add_file("files", "known.txt")
    assert left_out.lines() == ["folders: 7, such as c", "links: 2, such as a"]
    assert (left_out.count("links"), left_out.example("links"), left_out.count("files")) == (2, "a", 0)
