"""Everything the pipeline raises on purpose.

    PipelineError                 code, message (one sentence for a person), detail (for the log)
    ├── InputRefused              exit 3: the file is not one we can work on
    └── ProcessingFailed          exit 4: the file was fine, the work was not
        ├── SourceGone            the source file disappeared or changed
        ├── DiskFull              no room for scratch or result
        ├── OutputUnwritable      the target folder refuses us
        ├── ToolMissing           ffmpeg, weights or another tool is not there
        ├── ToolFailed            a tool ended with an error
        ├── ToolTimeout           a tool stopped making progress
        └── QaFailed              the result did not pass its own checks
    PipelineCancelled             the person or the system asked us to stop; not a failure

Each class composes its own sentence: what was wrong, then what to do. Codes are fixed by the command line and the
job table; add one only together with both.
"""

from __future__ import annotations


class PipelineError(Exception):
    """Base of every failure that has a sentence for the person.

    ``code`` is stable and machine-readable, ``message`` is shown, ``detail`` is logged only.
    """

    exit_status = 4

    def __init__(self, code: str, message: str, detail: str = "") -> None:
        super().__init__(code, message, detail)
        self.code = code
        self.message = message
        self.detail = detail

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:  # survives the way from a child process
        return (_rebuild, (type(self), self.code, self.message, self.detail))


def _rebuild(cls: type[PipelineError], code: str, message: str, detail: str) -> PipelineError:
    error = cls.__new__(cls)
    PipelineError.__init__(error, code, message, detail)
    return error


class InputRefused(PipelineError):
    """The input can't be processed; nothing was stored."""

    exit_status = 3


class ProcessingFailed(PipelineError):
    """Processing stopped; the source is untouched."""


class SourceGone(ProcessingFailed):
    """The source vanished or was replaced while it was being read."""

    def __init__(self, message: str = "", detail: str = "") -> None:
        super().__init__(
            "source_gone",
            message
            or "The source file disappeared or changed while it was being processed. "
            "Put it back, wait until it is fully copied, then start again.",
            detail,
        )


class DiskFull(ProcessingFailed):
    """The disk that holds scratch files or the result has no room left."""

    def __init__(self, where: str, needed_bytes: int | None = None, free_bytes: int | None = None) -> None:
        if needed_bytes is None or free_bytes is None:
            sentence = f"The disk is full ({where}). Free some space, then start again."
        else:
            sentence = (
                f"About {needed_bytes / 1e9:.1f} GB of disk are needed at {where}, {free_bytes / 1e9:.1f} GB are free. "
                "Free some space, then start again."
            )
        super().__init__("disk_full", sentence)


class OutputUnwritable(ProcessingFailed):
    """The target folder can't be created or written."""

    def __init__(self, where: str, detail: str = "") -> None:
        super().__init__(
            "out_unwritable",
            f"The folder {where} can't be written. Check that it is a folder and that you may write there.",
            detail,
        )


class ToolMissing(ProcessingFailed):
    """A program or a set of weights that the work needs is not there."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__("tool_missing", message, detail)


class ToolFailed(ProcessingFailed):
    """A tool ended with an error; ``detail`` keeps its command and the end of its output."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__("tool_failed", message, detail)


class ToolTimeout(ProcessingFailed):
    """A tool made no progress for longer than it may."""

    def __init__(self, tool: str, seconds: float, detail: str = "") -> None:
        super().__init__(
            "timeout",
            f"{tool} made no progress for {seconds:.0f} seconds and was stopped. Start again; "
            "if it happens once more, the file may be damaged.",
            detail,
        )


class QaFailed(ProcessingFailed):
    """The result failed a hard check and is not delivered."""

    def __init__(self, failures: str) -> None:
        super().__init__(
            "qa_failed",
            f"The result did not pass its own check ({failures}), so it was not delivered. Start again; "
            "if it fails once more, report it with the log.",
            failures,
        )


class PipelineCancelled(Exception):
    """Stopped on request; every child process is gone and nothing was delivered."""
