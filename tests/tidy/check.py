#!/usr/bin/env python3
"""What docs/STYLE.md asks for and a machine can check: lengths, whitespace, format, and which room
may include which. Prints FILE:LINE: what, and ends with 1 when there was anything.

usage: check.py [FILE...]     (default: every file that git knows or does not ignore)
"""

import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAX_FUNCTION_LINES = 70
MAX_FILE_LINES = 500
MAX_COLUMNS = 100

CPP = (".h", ".cpp")
CODE = CPP + (".py", ".js", ".css", ".html", ".cmake", ".sh")
CODE_NAMES = ("dev", "CMakeLists.txt", "run")
# Data, or written by a tool.
NOT_OURS = ("web/package-lock.json", "fuzz/corpus/", "docs/results/run.", "docs/results/seed.",
            "docs/results/serve.", "docs/results/peers.", "docs/results/relay.")

# Room -> the rooms whose headers it may include. The server, relay and bench never include each
# other; cli wires everything together.
EDGES = {
    "base": (),
    "sys": ("base",),
    "metrics": ("base",),
    "http": ("base",),
    "log": ("base", "sys"),
    "content": ("base", "sys", "http"),
    "tls": ("base", "sys"),
    "loop": ("base", "sys"),
    "egress": ("base", "sys", "content", "tls"),
    "service": ("base", "sys", "loop", "http"),
    "server": ("base", "sys", "loop", "http", "content", "tls", "egress", "metrics", "log",
               "service"),
    "relay": ("base", "sys", "loop", "tls", "metrics", "log", "service"),
    "bench": ("base", "sys", "loop", "http", "content", "egress", "metrics"),
    "doctor": ("base", "sys", "tls", "egress"),
    "cli": ("base", "sys", "metrics", "http", "log", "content", "tls", "loop", "egress",
            "service", "server", "relay", "bench", "doctor"),
}
OPEN_ROOMS = ("base", "sys")
INCLUDE = re.compile(r'\s*#\s*include\s+"([^"]+)"')


def main(names):
    names = [os.path.relpath(os.path.abspath(name), ROOT) for name in names] or tracked_files()
    code = [name for name in names if is_code(name)]
    cpp = [name for name in code if name.endswith(CPP)]
    findings = []
    for name in names:
        findings += whitespace(name)
    for name in code:
        findings += lengths(name)
    for name in cpp:
        findings += includes(name)
    findings += functions(code)
    findings += layout(cpp)
    for name, line, what in sorted(findings):
        print(f"{name}:{line}: {what}")
    print(f"tidy: {len(names)} files, {len(findings)} findings", file=sys.stderr)
    return 1 if findings else 0


def tracked_files():
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True).stdout
    return [name for name in sorted(set(listed.split("\0")))
            if name and not name.startswith(NOT_OURS) and os.path.isfile(os.path.join(ROOT, name))]


def is_code(name):
    return name.endswith(CODE) or os.path.basename(name) in CODE_NAMES


def lines_of(name):
    """None for a file that is not text."""
    with open(os.path.join(ROOT, name), "rb") as file:
        data = file.read()
    try:
        return data.decode() if b"\0" not in data else None
    except UnicodeDecodeError:
        return None


def whitespace(name):
    text = lines_of(name)
    if not text:
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line != line.rstrip():
            yield name, number, "white space at the end of the line"
        if "\t" in line and name.endswith(CPP):
            yield name, number, "a tab"
    if not text.endswith("\n"):
        yield name, text.count("\n") + 1, "no newline at the end"
    if text.endswith("\n\n"):
        yield name, text.count("\n"), "an empty line at the end"


def lengths(name):
    lines = (lines_of(name) or "").split("\n")
    if len(lines) - 1 > MAX_FILE_LINES:
        yield name, len(lines) - 1, f"{len(lines) - 1} lines, more than {MAX_FILE_LINES}"
    for number, line in enumerate(lines, 1):
        # An inline icon or a long address cannot be folded.
        if len(line) > MAX_COLUMNS and "data:image" not in line and "://" not in line:
            yield name, number, f"{len(line)} columns, more than {MAX_COLUMNS}"


def room_of(name):
    parts = name.split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "src" else None


def includes(name):
    """Inside src/ the edges above; everywhere, another room only through its public header. Unit
    tests may look into the room that they test."""
    room = room_of(name)
    if room is None:
        return
    if room not in EDGES:
        yield name, 1, f"room '{room}' is not in the list of rooms in tests/tidy/check.py"
        return
    for number, line in enumerate((lines_of(name) or "").split("\n"), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        target = match[1].split("/")
        if len(target) != 2 or target[0] not in EDGES:
            yield name, number, f'"{match[1]}" is not ROOM/FILE.h'
        elif target[0] == room:
            continue
        elif target[0] not in EDGES[room]:
            yield name, number, f"{room} may not include {target[0]}"
        elif target[0] not in OPEN_ROOMS and target[1] != target[0] + ".h":
            yield name, number, f'"{match[1]}" is private to {target[0]}'


def functions(names):
    """By universal-ctags, which knows where a function ends."""
    names = [name for name in names if name.endswith(CPP + (".py", ".js"))]
    if not names:
        return
    tags = subprocess.run(
        ["ctags", "--output-format=json", "--fields=+neK", "--kinds-C++=f",
         "--kinds-JavaScript=fm", "--kinds-Python=fm", "--langmap=C++:+.h", "-L", "-", "-f", "-"],
        cwd=ROOT, input="\n".join(names), capture_output=True, text=True, check=True).stdout
    for line in tags.splitlines():
        tag = json.loads(line)
        length = tag.get("end", tag["line"]) - tag["line"] + 1
        if length > MAX_FUNCTION_LINES:
            yield (tag["path"], tag["line"],
                   f"{tag['name']} has {length} lines, more than {MAX_FUNCTION_LINES}")


def layout(names):
    if not names:
        return
    done = subprocess.run(["clang-format", "--dry-run", "--ferror-limit=1", "-Werror", *names],
                          cwd=ROOT, capture_output=True, text=True, check=False)
    for line in done.stderr.splitlines():
        match = re.match(r"([^:]+):(\d+):\d+: error: ", line)
        if match:
            yield match[1], int(match[2]), "clang-format would change this"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
