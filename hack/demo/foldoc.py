#!/usr/bin/env python3
"""Turn the Free On-line Dictionary of Computing into questions and answers in alpaca format.

    python3 hack/demo/foldoc.py foldoc.dict.dz foldoc.index OUT_DIR [--held-back 24] [--seed 1]

Input are the two files of Debian's package dict-foldoc (/usr/share/dictd). Each entry whose first sentences make a
definition of at most 45 words becomes one row: "What is a daemon?" with FOLDOC's own terse words for an answer,
cleaned of cross-reference braces, pronunciations and subject tags. OUT_DIR gets train.jsonl, heldout.jsonl (entries
kept from training, to look at afterwards) and NOTICE. The same input gives the same files. FOLDOC is under the GNU
Free Documentation License, so the files are too.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

LEAST_WORDS = 6
MOST_WORDS = 45
DIGITS = {
    digit: value for value, digit in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
}
TEMPLATES = ("What is {}?", "What is {}?", "Define {}.", "What does {} mean?", "Explain {} in one or two sentences.")
TAG = r"<[^<>]*> ?"  # subject: <operating system>
SOUND = r"/[^/]+/,? ?(?:or )?"  # pronunciation: /day'mn/ or /dee'mn/
ORIGIN = r"\((?:[^()]|\([^()]*\))*\),? ?"  # note before the definition: (From the mythological meaning)
ASIDE = re.compile(r"\(?(See|Version|Contact|Address|E-?mail|Telephone|Latest)\b|\"")  # sentences that end a definition
OTHER = re.compile(r"(See|Or|Synonym|A synonym|Variant|Short|Abbreviation|The country code) |[^A-Z]")
ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|etc|vs|cf|Inc|Ltd|Corp|Co|Dr|Mr|Mrs|St|No|Jr|approx|esp|[A-Z])\.$")
NOTICE = """\
train.jsonl and heldout.jsonl are made from the Free On-line Dictionary of Computing,
http://foldoc.org/, Editor Denis Howe. Copyright 1985 by Denis Howe.

Permission is granted to copy, distribute and/or modify this document under the terms of the GNU Free Documentation
License, Version 1.1 or any later version published by the Free Software Foundation; with no Invariant Sections,
Front- or Back-Cover Texts. On Debian systems the licence is in /usr/share/common-licenses/GFDL.

Changes: one question for each entry, the answer being the entry's first sentences without cross-reference marks,
pronunciation and subject tags; entries without a short definition are left out.
"""


@dataclass(frozen=True)
class Entry:
    """One definition: its first headword and the cleaned answer."""

    word: str
    answer: str


def main() -> int:
    """Write the files and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dictionary", type=Path, metavar="foldoc.dict[.dz]")
    parser.add_argument("index", type=Path, metavar="foldoc.index")
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("--held-back", type=int, default=24, metavar="N", help="entries kept from training (24)")
    parser.add_argument("--seed", type=int, default=1, help="chooses the held-back entries and the questions' form (1)")
    args = parser.parse_args()
    texts = list(read_entries(args.dictionary, args.index))
    entries = unique(entry for text in texts if (entry := parse_entry(text)) is not None)
    order = sorted(entries, key=lambda entry: digest(args.seed, entry.word))
    args.out.mkdir(parents=True, exist_ok=True)
    write_rows(args.out / "heldout.jsonl", order[: args.held_back], args.seed)
    write_rows(args.out / "train.jsonl", order[args.held_back :], args.seed)
    (args.out / "NOTICE").write_text(NOTICE)
    words = sum(len(entry.answer.split()) for entry in order) / len(order)
    print(f"{len(texts)} entries, {len(order)} with a short definition ({words:.0f} words on average)")
    print(f"{args.out}: train.jsonl {len(order) - args.held_back} rows, heldout.jsonl {args.held_back} rows, NOTICE")
    return 0


def read_entries(dictionary: Path, index: Path) -> Iterator[str]:
    """Yield every entry's text once, in the order of the dictionary; several headwords may share one."""
    packed = dictionary.read_bytes()
    content = gzip.decompress(packed) if dictionary.suffix == ".dz" else packed
    places = set()
    for line in index.read_text().splitlines():
        word, offset, length = line.split("\t")[:3]
        if not word.startswith("00"):
            places.add((number(offset), number(length)))
    for offset, length in sorted(places):
        yield content[offset : offset + length].decode("utf-8", errors="replace")


def number(text: str) -> int:
    """Read dictd's base 64 number (dictd(8), index file): most significant digit first, no padding."""
    value = 0
    for digit in text:
        value = value * 64 + DIGITS[digit]
    return value


def parse_entry(text: str) -> Entry | None:
    """Return an entry's definition, None when it has no short one (mere references, addresses, long texts)."""
    heads, _, body = text.partition("\n\n")
    word = heads.split("\n")[0].strip()
    paragraph = re.split(r"\n\s*\n", body.strip("\n"))[0]
    answer = first_sentences(clean(paragraph))
    if not is_plain(word) or len(word) > 40 or answer is None:
        return None
    if not is_plain(answer) or OTHER.match(answer):
        return None
    return Entry(word, answer)


def clean(paragraph: str) -> str:
    """Take marks out of a paragraph: braces, emphasis, and what stands before the definition itself."""
    text = " ".join(paragraph.split())
    text = re.sub(r"\{\(?(?:https?|ftp|mailto)[^}]*\}", "", text)
    text = re.sub(r"\{([^{}]*?)(?: \((?:https?|ftp|mailto)[^)]*\))?\}", r"\1", text)
    text = re.sub(rf"^(?:{TAG}|{SOUND}|{ORIGIN}|1\. )+", "", text)
    text = re.split(r" 2\. ", text)[0]
    text = re.sub(r"(\*|__|_)(\w[^*_]*\w)\1", r"\2", text)
    text = re.sub(r"\[[^\]]*\]", "", text)
    return re.sub(r" +([.,;:)])", r"\1", " ".join(text.split()))


def first_sentences(text: str) -> str | None:
    """Return as many leading sentences as fit into MOST_WORDS, None when the first does not or is too short."""
    chosen = ""
    for sentence in sentences(text):
        longer = f"{chosen} {sentence}".strip()
        if len(longer.split()) > MOST_WORDS or ASIDE.match(sentence):
            break
        chosen = longer
    return chosen if len(chosen.split()) >= LEAST_WORDS and chosen.endswith(".") else None


def sentences(text: str) -> Iterator[str]:
    """Split at full stops followed by a capital, but not after abbreviations and initials."""
    begin = 0
    for match in re.finditer(r"(?<=[.!?]) (?=[A-Z\"(])", text):
        if not ABBREVIATIONS.search(text[begin : match.start()]):
            yield text[begin : match.start()]
            begin = match.end()
    yield text[begin:]


def is_plain(text: str) -> bool:
    """Return whether a text is readable as it is: printable ASCII, without addresses, markup and lists."""
    return bool(text) and text.isascii() and text.isprintable() and not re.search(r"https?:|ftp:|@|[{}<>\\|=]|%%", text)


def unique(entries: Iterable[Entry]) -> list[Entry]:
    """Keep the first entry of each headword, whatever its case."""
    found: dict[str, Entry] = {}
    for entry in entries:
        found.setdefault(entry.word.lower(), entry)
    return list(found.values())


def question(entry: Entry, seed: int) -> str:
    """Ask for an entry; after "What is" a noun gets its article, as far as the definition shows that it is one."""
    word, form = entry.word.rstrip("."), int(digest(seed, entry.word)[-4:], 16) % len(TEMPLATES)
    is_noun = re.match(r"An? ", entry.answer) and word[0].islower() and not word.endswith("s")
    if is_noun and TEMPLATES[form] == "What is {}?":
        word = f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
    return TEMPLATES[form].format(word)


def digest(seed: int, word: str) -> str:
    """Return a number that depends on the word alone: order and choices stay when entries come and go."""
    return hashlib.sha256(f"{seed}:{word}".encode()).hexdigest()


def write_rows(path: Path, entries: Iterable[Entry], seed: int) -> None:
    """Write alpaca rows, one a line."""
    rows = ({"instruction": question(entry, seed), "input": "", "output": entry.answer} for entry in entries)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
