"""Pieces of a self-contained HTML page: style, tables, figures, pictures; no script."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

LIGHT = ('#0072b2', '#d55e00', '#009e73', '#b0578d', '#7a6a00', '#3a86c8', '#555555', '#8c2d04')
DARK = ('#5cb3ec', '#ff9a52', '#3fd0a4', '#e59ac6', '#e8d44d', '#9fd3ff', '#c4c4c4', '#ffb38a')

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1c2126; --soft: #5b6670;
  --rule: #d9dee3; --panel: #f5f7f9; --good: #00664a; LIGHT }
@media (prefers-color-scheme: dark) { :root { --ground: #14181c; --ink: #e6eaed; --soft: #9aa6b0;
  --rule: #323a42; --panel: #1c2227; --good: #5fdcb4; DARK } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1240px; padding: 2rem 1.5rem 4rem; background: var(--ground);
  color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; padding-top: .6rem;
  border-top: 1px solid var(--rule) }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem }
p { max-width: 75ch; margin: .4rem 0 } .soft, figcaption, caption { color: var(--soft) }
a { color: inherit } nav a { margin-right: 1.2em }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0 }
caption { text-align: left; padding-bottom: .3rem }
th, td { padding: .35rem .7rem; text-align: right; vertical-align: top; white-space: nowrap;
  border-bottom: 1px solid var(--rule) }
th { font-weight: 600 } thead th { color: var(--soft); border-bottom-width: 2px }
th.left, td.left { text-align: left } td.text { white-space: normal; text-align: left }
td small { display: block; color: var(--soft); font-size: .8em; line-height: 1.35 }
td.best b { color: var(--good) } td b { font-weight: 500 } td.best b { font-weight: 700 }
tbody tr.first th, tbody tr.first td { border-top: 2px solid var(--rule) }
.charts { display: grid; gap: 1.2rem 1.6rem;
  grid-template-columns: repeat(auto-fit, minmax(min(350px, 100%), 1fr)) }
figure { margin: 0 }
.frames figure + figure { margin-top: .3rem }
figcaption { font-size: .9em; margin-bottom: .2rem }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif }
svg text { fill: var(--soft) } path.rule { stroke: var(--rule) }
.s { fill: none; stroke-width: 1.8; stroke-linejoin: round } .dot { stroke-width: 1 }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem;
  padding: 0; margin: .3rem 0 }
.legend svg { display: inline-block; width: 28px; height: 10px; margin-right: .4em }
.frames { display: grid; gap: .5rem;
  grid-template-columns: repeat(auto-fill, minmax(min(350px, 100%), 1fr)) }
.frames img { width: 100%; height: auto; display: block; background: #000 }
.scale { display: grid; grid-template-columns: auto 1fr auto; gap: .6rem; max-width: 620px;
  align-items: center; font-size: .85em; color: var(--soft) }
.scale i { height: 10px; border-radius: 2px; display: block }
details { margin: .6rem 0 } summary { cursor: pointer; color: var(--soft) }
pre { background: var(--panel); padding: .8rem 1rem; overflow-x: auto; font-size: .85em;
  border-radius: 4px }
@media print { body { max-width: none } details > * { display: block } }
"""


def style() -> str:
    """Give the style sheet, with the colours of the lines."""
    text = STYLE
    for mark, colours in ('LIGHT', LIGHT), ('DARK', DARK):
        text = text.replace(mark, '; '.join(f'--s{i}: {c}' for i, c in enumerate(colours)))
    lines = [
        f'.s{i} {{ stroke: var(--s{i}) }} .s{i}.dot {{ fill: var(--s{i}) }}' for i in range(8)
    ]
    return text + '\n'.join(lines)


def page(title: str, lead: str, sections: Mapping[str, str]) -> str:
    """Put a page together: its sections (HTML) by heading, with a table of contents."""
    links = ''.join(f'<a href="#part{i}">{escape(h)}</a>' for i, h in enumerate(sections))
    body = ''.join(
        f'<section id="part{i}"><h2>{escape(heading)}</h2>{content}</section>\n'
        for i, (heading, content) in enumerate(sections.items())
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><style>{style()}</style></head>\n<body><header>'
        f'<h1>{escape(title)}</h1><p class="soft">{escape(lead)}</p><nav>{links}</nav></header>\n'
        f'<main>{body}</main></body></html>\n'
    )


def table(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1,
    first: Sequence[int] = (),
) -> str:  # fmt: skip
    """
    Make a table of cells that are HTML, `<td...>` or plain; the first columns name the row.

    A thicker rule is drawn above the rows `first`.
    """
    text = [i < left or any('class="text"' in row[i] for row in rows) for i in range(len(header))]
    head = ''.join(
        f'<th scope="col"{" class=left" if to_left else ""}>{escape(name)}</th>'
        for name, to_left in zip(header, text, strict=True)
    )
    body = ''
    for number, row in enumerate(rows):
        cells = ''.join(
            cell if cell.startswith('<td') else f'<th scope="row" class="left">{cell}</th>'
            if i < left else f'<td>{cell}</td>'
            for i, cell in enumerate(row)
        )  # fmt: skip
        body += f'<tr{" class=first" if number in first else ""}>{cells}</tr>\n'
    return (
        f'<div class="wide"><table><caption>{escape(caption)}</caption><thead><tr>{head}</tr>'
        f'</thead><tbody>{body}</tbody></table></div>'
    )


def figure(caption: str, content: str) -> str:
    """Put a title above a picture or chart."""
    return f'<figure><figcaption>{escape(caption)}</figcaption>{content}</figure>'


def picture(path: Path, text: str) -> str:
    """Put a JPEG into the page, or say that it is not there."""
    if not path.is_file():
        return f'<p class="soft">no picture {escape(str(path))}</p>'
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="{escape(text)}" loading="lazy">'


def folded(summary: str, content: str) -> str:
    """Hide content until it is asked for."""
    return f'<details><summary>{escape(summary)}</summary>{content}</details>'


def code(text: str) -> str:
    """Show text as it is."""
    return f'<pre>{escape(text)}</pre>'


def scale(low: str, high: str, colours: Sequence[tuple[float, float, float]]) -> str:
    """Draw a colour scale (RGB, evenly spaced) between the names of its ends."""
    stops = ', '.join('rgb({:.0f} {:.0f} {:.0f})'.format(*colour) for colour in colours)
    return (
        f'<div class="scale"><span>{escape(low)}</span>'
        f'<i style="background: linear-gradient(90deg, {stops})"></i>'
        f'<span>{escape(high)}</span></div>'
    )
