"""Reads a page and shows what a Document holds: python examples/read_document.py [FILE]"""

from __future__ import annotations

import sys
from pathlib import Path

import khmer_fast

file = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("page.png")
document = khmer_fast.read(file)
for page in document.pages:
    print(f"page {page.number}, {page.width} x {page.height}, text from {page.origin.source}")
    for region in page.regions:
        for line in region.all_lines():
            unsure = [c.text for c in line.characters if c.confidence < 0.5]
            print(f"  {region.kind:8} {line.confidence:.2f} {line.text}", *unsure)
    for note in page.notes:
        print(f"  ({note.kind}: {note.text})")
