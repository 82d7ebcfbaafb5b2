"""Draws what `make demo` prints, without the long fourth step, as a terminal in an SVG: demo.py OUT.svg <output.

rich makes the picture; its own template would load a font from another server.
"""

import re
import sys

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

COLUMNS = 104
# The webhook's additions are longer than all other steps together; the last step has the times of a debug build.
LEFT_OUT = ("4.", "7.")


def shown(printed: str) -> list[str]:
    """The lines of the steps that the picture shows, and for the others a line of dots."""
    lines, skipping = [], False
    for line in printed.splitlines():
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
        if step := re.match(r"\d+\.", plain):
            skipping = step[0] in LEFT_OUT
            if skipping:
                if step[0] == "4.":
                    lines += [line, "   \x1b[2m… an init container, a tmpfs volume, a token for Vault alone, KUBECONFIG\x1b[0m", ""]
                continue
        if not skipping and (lines or step):
            lines.append(line)
    return lines


def main() -> None:
    console = Console(record=True, width=COLUMNS, file=open("/dev/null", "w"), force_terminal=True)
    for line in ["\x1b[1m$ make demo\x1b[0m", "", *shown(sys.stdin.read().replace("\r", ""))]:
        text = Text.from_ansi(line)
        text.truncate(COLUMNS, overflow="ellipsis")
        console.print(text, no_wrap=True, highlight=False)
    template = re.sub(r"@font-face \{\{.*?\n    \}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    template = template.replace("Fira Code", "ui-monospace")
    console.save_svg(sys.argv[1], title="make demo", theme=DIMMED_MONOKAI, code_format=template, unique_id="demo")


main()
