#!/usr/bin/env python3
"""Proves the pages: each relative link leads to a file of the tree, each #anchor to a heading of its page, and no cell of
a table is longer than a reader can take in at once."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md")), *sorted((ROOT / "tests").rglob("*.md"))]
LONGEST_CELL = 200

# GitHub's rules: "## `tpmspace run` -- CMD" is #tpmspace-run----cmd, and the second of its name ends in -1.
NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")
LINK = re.compile(r"\]\(([^)\s]+)\)")
LINKED = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def lines_of(page):
    """(number, line) of a page's lines outside of ``` blocks."""
    fenced = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, line


def anchors_of(page):
    anchors = set()
    for _, line in lines_of(page):
        if re.match(r"#{1,6} ", line):
            heading = LINKED.sub(r"\1", line.lstrip("#").strip())
            anchor = name = NOT_IN_ANCHORS.sub("", heading.lower()).replace(" ", "-")
            again = 0
            while anchor in anchors:
                again += 1
                anchor = f"{name}-{again}"
            anchors.add(anchor)
    return anchors


def faults_of_links(page):
    for number, line in lines_of(page):
        for target in LINK.findall(line):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists():
                yield number, f"{target}: no such file"
            elif anchor and anchor not in anchors_of(file):
                yield number, f"{target}: no such heading"


def faults_of_tables(page):
    for number, line in lines_of(page):
        if line.startswith("|"):
            for cell in re.split(r"(?<!\\)\|", line):
                if len(cell.strip()) > LONGEST_CELL:
                    yield number, f"a cell of {len(cell.strip())} characters, more than {LONGEST_CELL}: {cell.strip()[:60]}..."


def main():
    failed = False
    for page in PAGES:
        for number, fault in sorted([*faults_of_links(page), *faults_of_tables(page)]):
            print(f"{page.relative_to(ROOT)}:{number}: {fault}", file=sys.stderr)
            failed = True
    if not failed:
        print("links: each leads to a heading or a file, and each cell is short")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
