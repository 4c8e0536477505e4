from __future__ import annotations

import os
from pathlib import Path

import pytest

from daskseg.errors import UsageError
from daskseg.publish import check_target, replacing_directory, replacing_file


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def earlier_study(folder: Path) -> Path:
    folder.mkdir()
    (folder / "run.json").write_text("old")
    (folder / "report.html").write_text("old")
    return folder


def fail_half_way(path: Path, error: type[BaseException]) -> None:
    path.write_text("new")
    raise error("half way")


def test_check_target__takes_absent_empty_and_earlier_studies(tmp_path):
    (tmp_path / "empty").mkdir()
    for out in (
        tmp_path / "absent",
        tmp_path / "deep" / "below",
        tmp_path / "empty",
        earlier_study(tmp_path / "study"),
    ):
        check_target(out, force=False)
    assert files_below(tmp_path) == ["empty", "study", "study/report.html", "study/run.json"]


def test_check_target__refuses_a_foreign_directory_unless_forced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"not empty and holds no earlier study \(no run.json\)"):
        check_target(tmp_path, force=False)
    check_target(tmp_path, force=True)
    check_target(tmp_path, force=False, mark="thesis.tex")


def test_check_target__a_directory_called_like_the_mark_is_no_mark(tmp_path):
    (tmp_path / "run.json").mkdir()
    with pytest.raises(UsageError, match="no earlier study"):
        check_target(tmp_path, force=False)


@pytest.mark.parametrize("force", [False, True])
def test_check_target__refuses_a_file_in_the_way(tmp_path, force):
    file = tmp_path / "out"
    file.write_text("text")
    with pytest.raises(UsageError, match="a file stands there"):
        check_target(file, force=force)
    with pytest.raises(UsageError, match=r"out is a file\. Name another directory"):
        check_target(file / "below" / "it", force=force)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_check_target__refuses_where_nothing_may_be_created(tmp_path):
    parent = tmp_path / "parent"
    study = earlier_study(parent) / "study"
    study.mkdir()
    parent.chmod(0o500)
    try:
        for out in (study, parent / "new"):
            with pytest.raises(UsageError, match="is not writable"):
                check_target(out, force=True)
    finally:
        parent.chmod(0o700)


def test_replacing_directory__appears_at_once_and_alone(tmp_path):
    out = tmp_path / "deep" / "out"
    with replacing_directory(out) as work:
        (work / "report.html").write_text("new")
        assert not out.exists()
        assert work.parent == out.parent
    assert files_below(tmp_path) == ["deep", "deep/out", "deep/out/report.html"]


def test_replacing_directory__has_the_rights_that_mkdir_gives(tmp_path):
    (tmp_path / "plain").mkdir()
    with replacing_directory(tmp_path / "out"):
        pass
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_replacing_directory__replaces_an_earlier_study_as_a_whole(tmp_path):
    out = earlier_study(tmp_path / "out")
    with replacing_directory(out) as work:
        (work / "run.json").write_text("new")
        assert (out / "run.json").read_text() == "old"
    assert files_below(tmp_path) == ["out", "out/run.json"]
    assert (out / "run.json").read_text() == "new"


def test_replacing_directory__takes_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with replacing_directory(Path("out")) as work:
        (work / "file").write_text("new")
    assert files_below(tmp_path) == ["out", "out/file"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_replacing_directory__leaves_all_as_it_was_on_an_error(tmp_path, error):
    out = earlier_study(tmp_path / "out")
    before = files_below(tmp_path)
    with pytest.raises(error, match="half way"), replacing_directory(out) as work:
        fail_half_way(work / "run.json", error)
    assert files_below(tmp_path) == before
    assert (out / "run.json").read_text() == "old"


def test_replacing_directory__puts_the_old_study_back_if_the_rename_fails(tmp_path, monkeypatch):
    out = earlier_study(tmp_path / "out")
    before = files_below(tmp_path)
    rename = Path.rename

    def fails_for_the_new_one(self, target):
        if (self / "run.json").read_text() == "new":
            raise OSError("disk is gone")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new_one)
    with pytest.raises(OSError, match="disk is gone"), replacing_directory(out) as work:
        (work / "run.json").write_text("new")
    assert files_below(tmp_path) == before
    assert (out / "run.json").read_text() == "old"


def test_replacing_file__appears_at_once_and_alone(tmp_path):
    path = tmp_path / "deep" / "scores.parquet"
    for content in ("one", "two"):
        with replacing_file(path) as work:
            work.write_text(content)
        assert path.read_text() == content
    assert files_below(tmp_path) == ["deep", "deep/scores.parquet"]


def test_replacing_file__leaves_all_as_it_was_on_an_error(tmp_path):
    path = tmp_path / "scores.parquet"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), replacing_file(path) as work:
        fail_half_way(work, RuntimeError)
    assert files_below(tmp_path) == ["scores.parquet"]
    assert path.read_text() == "old"


def test_replacing__removes_the_parents_that_it_made_on_an_error(tmp_path):
    for replacing in (replacing_directory, replacing_file):
        with (
            pytest.raises(RuntimeError, match="half way"),
            replacing(tmp_path / "deep" / "below" / "out") as work,
        ):
            fail_half_way(work / "file" if work.is_dir() else work, RuntimeError)
        assert files_below(tmp_path) == []


def test_replacing_directory__a_link_keeps_pointing_where_it_does(tmp_path):
    (tmp_path / "disk").mkdir()
    study = earlier_study(tmp_path / "disk" / "study")
    link = tmp_path / "link"
    link.symlink_to(study)
    with replacing_directory(link) as work:
        (work / "run.json").write_text("new")
    assert link.is_symlink()
    assert (study / "run.json").read_text() == "new"
    assert files_below(tmp_path / "disk") == ["study", "study/run.json"]


def test_check_target__refuses_to_replace_its_source_and_the_working_directory(
    tmp_path, monkeypatch
):
    source = earlier_study(tmp_path / "out") / "ledger.csv"
    source.write_text("a,b")
    with pytest.raises(UsageError, match="lies in it and would be lost"):
        check_target(tmp_path / "out", force=True, sources=[source])
    check_target(tmp_path / "out", sources=[tmp_path / "ledger.csv"])
    monkeypatch.chdir(tmp_path / "out")
    for out in (tmp_path / "out", tmp_path):
        with pytest.raises(UsageError, match="is, or holds, the working directory"):
            check_target(out, force=True)
    check_target(Path("below"))
