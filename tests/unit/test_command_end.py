"""How the command says why it ended."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from pipeline import __main__ as command
from pipeline.errors import ToolMissing


def raise_from(error: Exception, cause: BaseException) -> None:
    raise error from cause


@pytest.mark.parametrize("error", [ImportError("initialization failed"), ToolMissing("It needs a part.", "detail")])
def test_a_signal_within_the_loading_of_a_library_is_an_interrupt(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(cause: BaseException) -> int:
        monkeypatch.setattr(command, "_process", lambda *_: raise_from(error, cause))
        return command.main([str(tmp_path / "talk.mp4"), "-o", str(tmp_path / "out"), "--json"])

    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process keeps its own
    assert end(KeyboardInterrupt()) == 130
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["code"] == "interrupted"
    if isinstance(error, ToolMissing):
        assert end(OSError()) == 4
    else:
        with pytest.raises(ImportError):
            end(OSError())
