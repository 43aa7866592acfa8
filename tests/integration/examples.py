"""The configurations that the documentation shows as examples, by the heading under which they stand."""

import harness

DOCS = harness.SOURCE / "docs"


def examples():
    """(page, heading) -> the text of each block of TOML in docs/*.md."""
    out = {}
    for page in sorted(DOCS.glob("*.md")):
        heading, block = None, None
        for line in page.read_text().splitlines():
            if block is not None and line.startswith("```"):
                assert (page.name, heading) not in out, f"{page.name}: two examples under {heading!r}"
                out[page.name, heading] = "\n".join(block) + "\n"
                block = None
            elif block is not None:
                block.append(line)
            elif line.startswith("```toml"):
                block = []
            elif line.startswith("#"):
                heading = line.lstrip("# ")
    return out


def example(heading, page="policy.md", **names):
    """The example as it can run here: each of `names` stands for what is quoted in the example ("keeper": a uid), and
    each `dir__NAME` for the directory that the example calls /run/NAME."""
    text = examples()[page, heading]
    for name, value in names.items():
        old, new = (f"/run/{name[5:]}/", f"{value}/") if name.startswith("dir__") else (f'"{name}"', str(value))
        assert old in text, f"{heading}: nothing is called {old} there"
        text = text.replace(old, new)
    return text
