#!/usr/bin/env python3
"""Writes the inputs that fuzzing starts from: make_corpus.py <seeds.txt> <directory>.

One line of seeds.txt is one input: the target's noun, a colon, and the bytes as text. In it, hexadecimal
digits in pairs are bytes, 'text' is its bytes, <text> is a two byte length and its bytes, [ ... ] is a
one byte length and what stands between. Blank lines and lines with # in front are skipped.
"""
import pathlib
import re
import sys

TOKEN = re.compile(r"\s*(?:'([^']*)'|<([^>]*)>|(\[)|(\])|([0-9a-fA-F]{2}))")


def parse(text):
    """The bytes that `text` describes."""
    groups = [bytearray()]
    at = 0
    text = text.strip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"not understood: {text[at:]}")
        plain, string, opening, closing, pair = match.groups()
        if plain is not None:
            groups[-1] += plain.encode()
        elif string is not None:
            groups[-1] += len(string.encode()).to_bytes(2, "big") + string.encode()
        elif opening is not None:
            groups.append(bytearray())
        elif closing is not None:
            group = groups.pop()
            if len(group) > 127:
                raise ValueError(f"more than 127 bytes in [ ]: {text}")
            groups[-1] += bytes([len(group)]) + group
        else:
            groups[-1].append(int(pair, 16))
        at = match.end()
    return bytes(groups[0])


def main():
    """Writes <directory>/<noun>/<line number> for every seed."""
    seeds, directory = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    for number, line in enumerate(seeds.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() == "" or line.startswith("#"):
            continue
        noun, text = line.split(":", 1)
        folder = directory / noun
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:04}").write_bytes(parse(text))


main()
