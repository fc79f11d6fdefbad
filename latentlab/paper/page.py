"""The page that leafs through the paper's figures, remade: index.html, alone and without scripts."""

from __future__ import annotations

import html
from collections.abc import Sequence

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; }
nav { position: sticky; top: 0; background: Canvas; padding: .5rem 0; display: flex; gap: .8rem; flex-wrap: wrap; }
figure { margin: 1rem 0; } img { max-width: 100%; background: white; border-radius: 4px; }
table { border-collapse: collapse; font-size: .85rem; } td, th { padding: .1rem .7rem .1rem 0; text-align: left; }
section { margin-bottom: 3rem; } .note { opacity: .75; }
"""


def page(model: str, sections: Sequence[dict]) -> str:
    """All of index.html.

    Args:
        sections: each with figure, title, about, summary, files, notes and table, as `paper.remake` makes them.
    """
    title = html.escape(f"The unCLIP paper’s figures on {model}")
    links = "".join(f'<a href="#f{s["figure"]}">{html.escape(_heading(s))}</a>' for s in sections)
    body = "".join(_section(s) for s in sections)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{title}</h1><nav>{links}</nav>{body}</html>"
    )


def _section(section: dict) -> str:
    pictures = "".join(
        f'<figure><img src="{file}" alt="{html.escape(f"{_heading(section)}: {name}")}" loading="lazy">'
        f"<figcaption>{html.escape(name)}</figcaption></figure>"
        for file, name in section["files"].items()
    )
    columns = list(dict.fromkeys(key for row in section["table"] for key in row))
    head = "".join(f"<th>{html.escape(c)}</th>" for c in columns)
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell(row.get(c)))}</td>" for c in columns) + "</tr>"
        for row in section["table"]
    )
    table = f"<details><summary>Numbers</summary><table><tr>{head}</tr>{lines}</table></details>"
    notes = "".join(f'<p class="note">{html.escape(n)}</p>' for n in section["notes"])
    return (
        f'<section id="f{section["figure"]}"><h2>{html.escape(_heading(section))}</h2>'
        f"<p>{html.escape(section['about'])}</p><p><b>{html.escape(section['summary'])}</b></p>{notes}{pictures}"
        f"{table if lines else ''}</section>"
    )


def _heading(section: dict) -> str:
    return f"Figure {section['figure']}: {section['title']}" if section["figure"].isdigit() else section["title"]


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
