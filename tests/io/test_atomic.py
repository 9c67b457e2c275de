from __future__ import annotations

import pytest

from accuracy_from_weights.io.atomic import replacing


def test_the_file_appears_with_its_whole_content(tmp_path):
    target = tmp_path / "file"
    with replacing(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")

    def fail() -> None:
        with replacing(target) as temporary:
            temporary.write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_two_writers_do_not_mix(tmp_path):
    target = tmp_path / "file"
    with replacing(target) as first, replacing(target) as second:
        first.write_text("a" * 1000)
        second.write_text("b" * 10)
    assert target.read_text() == "a" * 1000
