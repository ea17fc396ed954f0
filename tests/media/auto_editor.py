"""A stand-in for auto-editor: a program that speaks its command line, progress and errors, as any version of it.

Its cuts are worked out here from its arguments and the WAV it is given, in plain Python, by the rules of the version:
nothing of the product takes part.
"""

from __future__ import annotations

import sys
from pathlib import Path

PROGRAM = r"""
import json, os, re, signal, struct, sys, time
from fractions import Fraction

VERSION, MODE, HERE = {version!r}, {mode!r}, os.path.dirname(os.path.abspath(__file__))
MAJOR = int(VERSION.split(".")[0])

if sys.argv[1:] == ["--version"]:
    if MODE == "version hangs":
        time.sleep(600)
    if MODE == "version crashes":
        sys.exit("Illegal instruction")
    print("one moment" if MODE == "version is garbage" else VERSION)
    sys.exit()

with open(os.path.join(HERE, "argv.json"), "w") as file:
    json.dump(sys.argv[1:], file)
print("  Starting" + " " * 69, end="\r", flush=True)
if MODE == "hangs":
    with open(os.path.join(HERE, "pid"), "w") as file:
        file.write(str(os.getpid()))
    time.sleep(600)
if MODE == "crashes":
    os.kill(os.getpid(), signal.SIGKILL)
if MODE == "traceback":
    sys.exit("Traceback (most recent call last):\nav.error.InvalidDataError: Invalid data: audio.wav")
if MODE.startswith("error "):
    print(" " * 78, end="\r", flush=True)
    sys.exit("\x1b[31m\x1b[40mError! " + MODE[6:] + "\x1b[0m")
if MODE == "writes nothing":
    sys.exit()

words = iter(sys.argv[1:])
options = {{"inputs": []}}
for word in words:
    if word in ("--no-open", "--no-cache"):
        options[word] = True
    elif word.startswith("-"):
        options[word] = next(words)
    else:
        options["inputs"].append(word)

with open(options["inputs"][0], "rb") as file:
    assert file.read(12)[8:] == b"WAVE"
    while (name := file.read(4)) != b"data":
        (size,) = struct.unpack("<I", file.read(4))
        body = file.read(size)
        if name == b"fmt ":
            _, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body)
    (size,) = struct.unpack("<I", file.read(4))
    samples = memoryview(file.read(size)).cast("h")

base = Fraction(options["--frame-rate"])
threshold = float(options["--edit"].removeprefix("audio:threshold="))
count, exact = len(samples) // channels, rate / base
loud, at, error = [], 0, Fraction(0)
while at < count:
    left, most = count - at, -(-exact.numerator // exact.denominator)
    n = min(int(exact + error + Fraction(1, 2)), most) if left >= most else left
    error += exact - n
    part = samples[at * channels : (at + n) * channels]
    level = min(32767, max(max(part), -min(part))) / 32767
    loud.append(int(level * 65535 + 0.5) >= int(threshold * 65535 + 0.5))
    at += n

def frames(text):
    exact = round(float(text.removesuffix("s")) * 1000) / 1000 * float(base)
    return int(exact + (0.5 if exact > 0 else -0.5)) if VERSION == "31.5.1" else int(exact)

def margin(flags, before, after):
    edges = [(j, flags[j]) for j in range(1, len(flags)) if flags[j] != flags[j - 1]]
    for rises, first, last, value in [
        (True, -before, 0, True), (True, 0, -before, False), (False, 0, after, True), (False, after, 0, False)
    ]:
        for j, risen in edges:
            if risen is rises and first < last:
                for k in range(max(0, j + first), min(len(flags), j + last)):
                    flags[k] = value

def runs(flags):
    start = 0
    for end in range(1, len(flags) + 1):
        if end == len(flags) or flags[end] != flags[start]:
            yield start, end, flags[start]
            start = end

def drop(flags, target, value, limit):
    for start, end, flag in runs(flags):
        if flag is value and end - start < limit:
            target[start:end] = [not value] * (end - start)

before, after = (frames(part) for part in (options["--margin"].split(",") * 2)[:2])
if MAJOR < 30:
    drop(list(loud), loud, True, 3)
    drop(list(loud), loud, False, 6)
    margin(loud, before, after)
else:
    min_cut, min_clip = (frames(part) for part in options["--smooth"].split(","))
    margin(loud, before, after)
    seen = []
    while loud not in seen[-2:]:
        seen.append(list(loud))
        drop(seen[-1], loud, True, min_clip)
        drop(seen[-1], loud, False, min_cut)
if not any(loud):
    sys.exit("Error! Timeline is empty, nothing to do.")
for done in range(0, len(loud) + 1, max(1, len(loud) // 5)):
    print(f"Analyzing audio volume~{{float(done)}}~{{float(len(loud))}}~0.46", end="\r", flush=True)
    time.sleep(0.1)
timebase = Fraction(25) if MODE == "other rate" else base
document = {{
    "version": "1",
    "source": options["inputs"][0],
    "timebase": f"{{timebase.numerator}}/{{timebase.denominator}}",
    "chunks": [[start, end, 1.0 if flag else 99999.0] for start, end, flag in runs(loud)],
}}
if MAJOR < 30:
    del document["timebase"]
if MODE == "too short":
    document["chunks"] = document["chunks"][:1]
with open(options["-o"], "w") as file:
    file.write("{{ \x00 no json" if MODE == "writes garbage" else json.dumps(document))
print("Finished. took 2.53 seconds (0:00:03)")
"""


def write_fake(folder: Path, version: str = "31.5.1", mode: str = "") -> Path:
    """Write a program ``auto-editor`` that acts as ``version`` into ``folder``; ``mode`` is what goes wrong with it."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "auto-editor"
    program.write_text(f"#!{sys.executable}\n{PROGRAM.format(version=version, mode=mode)}", encoding="utf-8")
    program.chmod(0o755)
    return program


STUB = """#!{python}
# -*- coding: utf-8 -*-
import re
import sys
from auto_editor.__main__ import main
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    open({called!r}, "w").close()
    sys.exit(main())
"""
"""What pip puts on PATH for PyPI's package; this one leaves a file where it was called."""


def write_stub(folder: Path) -> Path:
    """Write the stub's script into ``folder``; a file ``called`` beside it tells that somebody ran it."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "auto-editor"
    script.write_text(STUB.format(python=sys.executable, called=str(folder / "called")), encoding="utf-8")
    script.chmod(0o755)
    return script
