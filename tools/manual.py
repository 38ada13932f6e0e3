#!/usr/bin/env python3
"""tools/manual.py [--check]: docs/a-io.1 from docs/a-io.1.in and the texts of src/cli/help.

The texts are what --help prints, so that an option is described once. Their form: usage lines, then
paragraphs; a line that is indented and begins with - or / is an entry, its words begin two spaces or more
behind it or in the next line; a line at the margin right before an entry is a heading. Lines "@name" stand
for another text, which the page has once: later commands point to it. --check writes nothing and fails
where the page is another than the one that is there. Python's standard library only.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HELP = ROOT / "src/cli/help"
PAGE, FRAME = ROOT / "docs/a-io.1", ROOT / "docs/a-io.1.in"
COMMANDS = (
    "run chat route serve init pull models rm inspect tokenize render logits quantize "
    "replay label report tune bench calibrate"
).split()

ENTRY = re.compile(r"( +)([-/].*?)(?:\s{2,}(\S.*))?$")
NESTED = re.compile(r"( {4,})(\w+:N)\s{2,}(\S.*)$")
USAGE = re.compile(r"(?:usage:|      ) (a-io .*)$")


def roff(text):
    """Text that troff takes as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def option(text):
    """An entry's name: options bold, what they take in italics."""
    words = re.split(r"(--?[a-z][a-z-]*|/[a-z]+)", text)
    parts = (
        f"\\fB{roff(w)}\\fR" if i % 2 else re.sub(r"([A-Z]+)", r"\\fI\1\\fR", roff(w)) for i, w in enumerate(words)
    )
    return "".join(parts)


class Page:
    """The lines of the section, and where each shared text was first told."""

    def __init__(self):
        self.lines, self.told = [], {}

    def command(self, name):
        lines = (HELP / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        while lines and (usage := USAGE.match(lines[0])):
            self.lines.append(f".SS {roff(usage[1])}")
            lines.pop(0)
        if name == "quantize":  # the program has a list between its two texts
            lines = [line.replace("Shapes:", "The help lists the shapes.") for line in lines]
            lines += (HELP / "quantize_options.txt").read_text(encoding="utf-8").splitlines()
        self.text(name, lines)

    def text(self, command, lines):
        in_entry = False
        for i, line in enumerate(lines):
            following = lines[i + 1] if i + 1 < len(lines) else ""
            if line.startswith("@"):
                self.shared(command, line[1:])
                in_entry = False
            elif line == "":
                in_entry = False
                self.lines.append(".PP")
            elif line.endswith("this text"):  # --help, which the frame tells
                in_entry = True
            elif entry := NESTED.match(line) or ENTRY.match(line) if not self.continues(in_entry, line) else None:
                self.lines += [".TP", option(entry[2])] + ([roff(entry[3])] if entry[3] else [])
                in_entry = True
            elif ENTRY.match(following) and not line.startswith(" "):
                self.lines += [".PP", f".I {roff(line)}"]
            else:
                self.lines.append(roff(line.strip()))

    @staticmethod
    def continues(in_entry, line):
        """Whether the line is text of the entry before it that happens to begin with an option."""
        return in_entry and len(line) - len(line.lstrip()) > 10

    def shared(self, command, name):
        lines = (HELP / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        if name not in self.told:
            self.told[name] = command
            return self.text(command, lines)
        names = [m[2] for m in map(ENTRY.match, lines) if m and not self.continues(True, m[0])]
        longest = [n.split(", ")[-1].split(" ")[0] for n in names]
        self.lines += [
            ".PP",
            "As \\fB" + self.told[name] + "\\fR has them:",
            ", ".join(option(n) for n in longest) + ".",
        ]
        return None


def manual():
    page = Page()
    for name in COMMANDS:
        page.command(name)
    lines = [line for i, line in enumerate(page.lines) if line != ".PP" or needed(page.lines, i)]
    return FRAME.read_text(encoding="utf-8").replace("@COMMANDS@", "\n".join(lines))


def needed(lines, i):
    """A paragraph begins where something other than a macro follows and no other one just began."""
    following = lines[i + 1] if i + 1 < len(lines) else ".SS"
    return not following.startswith((".SS", ".TP", ".PP")) and not (i > 0 and lines[i - 1].startswith(".SS"))


def main():
    made = manual()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != made:
        sys.exit("docs/a-io.1 is not what src/cli/help and docs/a-io.1.in make: run make docs")


if __name__ == "__main__":
    main()
