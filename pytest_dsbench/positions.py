"""Where keys and rows stand in the text of a shape file: tomllib gives values without positions, so they are found again."""

import re

#: Strings of all four kinds and comments: what stands in them is no syntax. Two more quotes may end a string of three.
_OPAQUE = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*', re.DOTALL)


def key_line(text: str, key: str) -> int:
    """The line of a top-level key; 1 where the file does not have it."""
    plain = _plain(text)
    found = re.search(rf"^[ \t]*(\[+[ \t]*)?[\"']?{re.escape(key)}[\"']?[ \t]*[=\].]", plain, re.MULTILINE) if key else None
    return plain.count("\n", 0, found.start()) + 1 if found else 1


def row_lines(text: str, key: str = "case") -> list[int]:
    """The line on which the n-th row begins, be it a `[[case]]` block or an item of `case = [...]`."""
    plain, quoted = _plain(text), rf"[\"']?{key}[\"']?[ \t]*"
    block, array = rf"^[ \t]*\[\[[ \t]*{quoted}\]\]", rf"^[ \t]*{quoted}="
    blocks = [plain.count("\n", 0, found.start()) + 1 for found in re.finditer(block, plain, re.MULTILINE)]
    start = re.search(array, plain, re.MULTILINE)
    if blocks or start is None:
        return blocks
    lines, depth, line = [], 0, plain.count("\n", 0, start.end()) + 1
    for token in re.finditer(r"[\[\]{}\n]", plain[start.end() :]):
        if token[0] == "\n":
            line += 1
        elif token[0] in "[{":
            depth += 1
            if depth == 2:
                lines.append(line)
        else:
            depth -= 1
    return lines


def _plain(text: str) -> str:
    """The text with everything in strings and comments that could be taken for syntax blanked; lines and quotes stay."""
    return _OPAQUE.sub(lambda piece: re.sub(r"[^\w\s\"']", " ", piece[0]), text)
