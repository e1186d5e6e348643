"""Keeps the code in docs/clients.md the drivers' own.

    docs.py          says what differs
    docs.py --write  puts it right

A line `python: create` in the page stands for the piece between `example: create` and `end` in clients/python/drive.py: below it stands the code.
"""

import difflib
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/clients.md"
DRIVERS = {"python": "clients/python/drive.py", "typescript": "clients/typescript/drive.ts", "rust": "clients/rust/src/main.rs"}
BEGIN = re.compile(r"^\s*(?:#|//) example: (\S+)$")
END = re.compile(r"^\s*(?:#|//) end$")
# As it is written by hand, and as it stands afterwards with the code below.
MARK = re.compile(r"^(?:<!-- )?(python|typescript|rust): (\S+)(?: -->\n```\w+\n.*?\n```)?$", re.MULTILINE | re.DOTALL)


def pieces(path):
    found, name = {}, None
    for line in path.read_text(encoding="utf-8").splitlines():
        if begin := BEGIN.match(line):
            name = begin[1]
            found[name] = []
        elif END.match(line):
            name = None
        elif name:
            found[name].append(line)
    return {name: textwrap.dedent("\n".join(lines)) for name, lines in found.items()}


def main():
    code = {language: pieces(ROOT / path) for language, path in DRIVERS.items()}
    shown = PAGE.read_text(encoding="utf-8")
    used = {(mark[1], mark[2]) for mark in MARK.finditer(shown)}
    wanted = MARK.sub(lambda mark: f"<!-- {mark[1]}: {mark[2]} -->\n```{mark[1]}\n{code[mark[1]][mark[2]]}\n```", shown)
    if "--write" in sys.argv[1:]:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    if len(used) < 20:
        print(f"{PAGE}: only {len(used)} examples")
        return 1
    difference = list(difflib.unified_diff(shown.splitlines(), wanted.splitlines(), "docs/clients.md", "the drivers", lineterm=""))
    print("\n".join(difference))
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main())
