"""Results appear whole or not at all, and scratch folders disappear whatever happens."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from pipeline.errors import DiskFull, OutputUnwritable, PipelineCancelled
from pipeline.media import writing
from pipeline.models import RESULT_FILES
from pipeline.publish import publish_files, scratch_folder


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make_scratch(out: Path, name: str) -> Path:
    """Leave behind what a killed run would: a scratch folder with half a video."""
    folder = out / f".work-{name}"
    (folder / "result").mkdir(parents=True)
    (folder / "result" / "video.mp4").write_bytes(b"half")
    return folder


# --- scratch ---


def test_scratch_lies_in_the_target_and_is_removed_after_success(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as workdir:
        assert workdir.parent == tmp_path
        assert workdir.name.startswith(".work-")
        (workdir / "result").mkdir()
        (workdir / "result" / "video.mp4").touch()
    assert list_names(tmp_path) == []


@pytest.mark.parametrize(
    "raised", [ValueError, OutputUnwritable("x"), PipelineCancelled, KeyboardInterrupt, SystemExit]
)
def test_scratch_is_removed_on_every_way_out(tmp_path: Path, raised: BaseException | type[BaseException]) -> None:
    kind = raised if isinstance(raised, type) else type(raised)
    with pytest.raises(kind), scratch_folder(tmp_path / "out") as workdir:
        (workdir / "track0.s16").write_bytes(b"x")
        raise raised
    assert list_names(tmp_path) == []


def test_errors_of_the_work_are_not_taken_for_errors_of_the_target(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), scratch_folder(tmp_path):
        (tmp_path / "missing").read_bytes()


def test_a_target_that_was_made_and_stayed_empty_goes_with_the_folders_above_it(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with scratch_folder(tmp_path / "mine" / "a" / "b") as workdir:
        assert workdir.is_dir()
    assert list_names(tmp_path) == ["mine"]
    assert list_names(tmp_path / "mine") == []


def test_a_target_that_was_there_stays_even_when_empty(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with scratch_folder(tmp_path / "out"):
        pass
    assert list_names(tmp_path) == ["out"]


def test_a_target_with_a_result_stays(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "a" / "out") as workdir:
        (workdir / "timeline.json").write_text("{}")
        publish_files({"timeline.json": workdir / "timeline.json"}, tmp_path / "a" / "out")
    assert list_names(tmp_path / "a" / "out") == ["timeline.json"]


def test_what_a_killed_run_left_is_swept(tmp_path: Path) -> None:
    make_scratch(tmp_path, "dead1")
    make_scratch(tmp_path, "dead2")
    (tmp_path / "video.mp4").touch()
    (tmp_path / "notes").mkdir()
    with scratch_folder(tmp_path) as workdir:
        assert list_names(tmp_path) == sorted([workdir.name, "video.mp4", "notes"])
    assert list_names(tmp_path) == ["notes", "video.mp4"]


def test_the_scratch_of_a_living_run_is_not_touched(tmp_path: Path) -> None:
    alive, dead = make_scratch(tmp_path, "alive"), make_scratch(tmp_path, "dead")
    life = os.open(alive, os.O_RDONLY)
    fcntl.flock(life, fcntl.LOCK_EX)
    with scratch_folder(tmp_path):
        assert (alive / "result" / "video.mp4").read_bytes() == b"half"
        assert not dead.exists()
    os.close(life)
    with scratch_folder(tmp_path):
        assert not alive.exists()


def test_two_runs_into_one_folder_leave_each_other_alone(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "out") as one, scratch_folder(tmp_path / "out") as other:
        assert one != other
        assert one.is_dir()
        assert other.is_dir()
    assert list_names(tmp_path) == []


# --- targets that refuse ---


@pytest.mark.parametrize("below", ["", "sub", "sub/sub"])
def test_a_file_is_no_target(tmp_path: Path, below: str) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputUnwritable) as caught, scratch_folder(tmp_path / "out" / below):
        pytest.fail("there is nowhere to work")
    assert str(tmp_path / "out" / below) in caught.value.message
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.parametrize("below", ["", "sub"])
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_no_target(tmp_path: Path, below: str) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(OutputUnwritable), scratch_folder(tmp_path / "out" / below):
        pytest.fail("there is nowhere to work")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that takes no folders: Linux's /proc")
@pytest.mark.parametrize("out", ["/proc", "/proc/video", "/proc/self/a/b"])
def test_a_file_system_that_takes_no_folders_is_no_target(out: str) -> None:
    with pytest.raises(OutputUnwritable) as caught, scratch_folder(Path(out)):
        pytest.fail("there is nowhere to work")
    assert out in caught.value.message


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_is_full_is_told_from_one_that_refuses(tmp_path: Path, code: int) -> None:
    with pytest.raises(DiskFull) as caught, writing(tmp_path):
        raise OSError(code, os.strerror(code))
    assert str(tmp_path) in caught.value.message


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EIO, errno.ENOENT])
def test_everything_else_that_writing_raises_is_the_folder_refusing(tmp_path: Path, code: int) -> None:
    with pytest.raises(OutputUnwritable) as caught, writing(tmp_path):
        raise OSError(code, os.strerror(code))
    assert str(tmp_path) in caught.value.message
    assert os.strerror(code) in caught.value.detail


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_really_full_disk(tmp_path: Path) -> None:
    with pytest.raises(DiskFull), writing(tmp_path):
        Path("/dev/full").write_bytes(b"x")


# --- publishing ---


def write_files(folder: Path, text: str) -> dict[str, Path]:
    folder.mkdir()
    for name in RESULT_FILES:
        (folder / name).write_text(f"{text} {name}")
    return {name: folder / name for name in RESULT_FILES}


def test_all_files_are_moved_to_their_names(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    publish_files(write_files(tmp_path / "one", "old"), out)
    publish_files(write_files(tmp_path / "two", "new"), out)
    assert {path.name: path.read_text() for path in out.iterdir()} == {name: f"new {name}" for name in RESULT_FILES}
    assert list_names(tmp_path / "two") == []


@pytest.mark.parametrize("missing", [name for name in RESULT_FILES if name != "report.json"])
@pytest.mark.parametrize("order", [1, -1])
def test_the_report_comes_last_and_never_stands_beside_files_of_another_run(
    tmp_path: Path, missing: str, order: int
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    publish_files(write_files(tmp_path / "one", "old"), out)
    files = write_files(tmp_path / "two", "new")
    files[missing].unlink()
    with pytest.raises(OutputUnwritable):
        publish_files(dict(list(files.items())[::order]), out)
    assert not (out / "report.json").exists()


def test_a_part_of_a_result_leaves_the_rest_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    publish_files(write_files(tmp_path / "one", "old"), out)
    (tmp_path / "timeline.json").write_text("new")
    publish_files({"timeline.json": tmp_path / "timeline.json"}, out)
    assert (out / "timeline.json").read_text() == "new"
    assert (out / "report.json").read_text() == "old report.json"


def test_a_target_that_went_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputUnwritable):
        publish_files(write_files(tmp_path / "one", "new"), tmp_path / "gone")
