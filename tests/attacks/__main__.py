"""Play the attacks: `python -m tests.attacks [--only NAME ...] [--seeds K] [--workers N] [--write]`.

Prints progress, then a table with the attack success rate first. `--write` keeps what was seen and renders
docs/attacks.md. Ends with 1 where an attack succeeded or a twin was accused.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys

from tests.attacks import table
from tests.attacks.playing import played
from tests.attacks.suite import attacks


def main() -> int:
    """Play, print, keep."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("--only", nargs="+", default=["*"], metavar="NAME", help="attacks, or patterns of their names")
    parser.add_argument("--seeds", type=int, default=1, metavar="K", help="seeds 1 to K (default: 1)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="how many side by side (default: 2)")
    parser.add_argument("--write", action="store_true", help="keep what is seen, and write docs/attacks.md")
    options = parser.parse_args()
    every = attacks()
    chosen = [attack for attack in every if any(fnmatch.fnmatch(attack.name, name) for name in options.only)]
    if not chosen or options.seeds < 1:
        parser.error(f"no attack is called {' or '.join(options.only)}" if not chosen else "--seeds has to be positive")
    found = played(chosen, list(range(1, options.seeds + 1)), options.workers)
    rows = [(attack, list(found[attack.name].values())) for attack in chosen]
    print()
    print(table.rate(rows))
    cells = [table.HEAD, *(table.row(attack, results) for attack, results in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(table.HEAD) - 2)]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, [*widths, 0, 0], strict=True)))
    if options.write:
        kept = table.load() | {attack.name: table.entry(attack, found[attack.name]) for attack in chosen}
        names = {attack.name for attack in every}
        kept = {name: entry for name, entry in kept.items() if name in names}
        table.save(kept)
        table.PAGE.write_text(table.render([(attack, table.results(kept, attack)) for attack in every]))
    won = any(result.success for attack, results in rows if attack.rare is None for result in results)
    accused = any(result.accused for _, results in rows for result in results)
    return int(won or accused)


if __name__ == "__main__":
    sys.exit(main())
