"""Line charts as inline SVG: text stays text, colours come from the page's style (light, dark)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
import math

WIDTH, HEIGHT = 400, 260
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 10, 42
LOG_FROM = 10
COLOURS = 8  # classes s0 to s7 of the page's style
DASHES = ('', '7 3', '2 3', '9 3 2 3')  # tell lines apart without colour


@dataclass(frozen=True)
class Line:
    """Points of one curve, and where known the interval of each; None: no point."""

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    bounds: Sequence[tuple[float, float] | None] = ()


@dataclass(frozen=True)
class Axis:
    """A scale from data to pixels: linear, or logarithmic where all is positive."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Give the pixel of a value."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = (math.log(v) for v in (low, high, max(value, low)))
        return self.start + (self.end - self.start) * (at - low) / (high - low)

    def ticks(self) -> list[float]:
        """List round numbers within the scale."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [m * 10.0**d for d in decades for m in (1, 2, 5)]
            found = [tick for tick in found if self.low <= tick <= self.high]
            return found if 2 <= len(found) <= 9 else found[:: max(1, len(found) // 6)]
        span = self.high - self.low
        step = 10.0 ** math.floor(math.log10(span))
        step *= next(m for m in (2, 1, 0.5, 0.2) if span >= 3 * m * step)  # 3 to 7 steps
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def axis(values: Sequence[float], start: float, end: float, log: bool, zero: bool) -> Axis:
    """Fit a scale to values; a linear one may begin at 0."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if log and low > 0:
        spare = (high / low) ** 0.06 if high > low else 1.5
        return Axis(low / spare, high * spare, start, end, True)
    low = min(0.0, low) if zero else low
    spare = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    return Axis(low if zero and low == 0 else low - spare, high + spare, start, end)


def chart(
    title: str, lines: Sequence[Line], x_label: str, y_label: str,
    categories: Sequence[str] = (),
) -> str:  # fmt: skip
    """
    Draw lines over x, or over named categories, whose places are 0, 1, 2, ...

    Points with an interval get a bar; a line with up to 30 points gets markers. The scale of y is
    logarithmic where its values differ more than `LOG_FROM` times.
    """
    xs = [x for line in lines for x in line.x] + [0.0] * bool(categories)
    ys = [y for line in lines for y in line.y if y is not None]
    ys += [b for line in lines for bound in line.bounds if bound for b in bound]
    across = axis(xs, LEFT, WIDTH - RIGHT, False, False)
    if categories:
        across = Axis(-0.4, len(categories) - 0.6, LEFT, WIDTH - RIGHT)
    log_y = bool(ys) and min(ys) > 0 and max(ys) > LOG_FROM * min(ys)
    up = axis(ys, HEIGHT - BOTTOM, TOP, log_y, True)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for tick in up.ticks():
        y = up(tick)
        parts.append(f'<path class="rule" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 7, y + 4, _short(tick), 'end'))
    named = enumerate(categories) if categories else ((t, _short(t)) for t in across.ticks())
    for tick, name in named:
        parts.append(_text(across(tick), HEIGHT - BOTTOM + 18, str(name)))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(_text(14, middle, y_label, turn=f' transform="rotate(-90 14 {middle:g})"'))
    for i, line in enumerate(lines):
        shift = 5 * (i - (len(lines) - 1) / 2) if categories else 0
        parts.append(_line(line, i, across, up, shift))
    return '\n'.join([*parts, '</svg>'])


def legend(labels: Sequence[str]) -> str:
    """Say which line is whose."""
    items = ''.join(
        f'<li><svg viewBox="0 0 28 10" aria-hidden="true"><path class="{_style(i)}" d="M1 5H27"'
        f'{_dash(i)}/></svg>{escape(label)}</li>'
        for i, label in enumerate(labels)
    )
    return f'<ul class="legend">{items}</ul>'


def _line(line: Line, number: int, across: Axis, up: Axis, shift: float) -> str:
    """Draw one line with its markers and intervals."""
    style, path, marks, move = _style(number), '', '', True
    few = len(line.x) <= 30
    for i, (x, y) in enumerate(zip(line.x, line.y, strict=True)):
        if y is None:
            move = True
            continue
        px, py = across(x) + shift, up(y)
        path += f'{"M" if move else "L"}{px:.1f} {py:.1f}'
        move = False
        bound = line.bounds[i] if line.bounds else None
        if bound:
            path_low, path_high = up(bound[0]), up(bound[1])
            marks += f'<path class="{style}" d="M{px:.1f} {path_low:.1f}V{path_high:.1f}"/>'
        if few:
            marks += (
                f'<circle class="{style} dot" cx="{px:.1f}" cy="{py:.1f}" r="3.2">'
                f'<title>{escape(line.label)}: {y:.4g}</title></circle>'
            )
    return f'<path class="{style}" d="{path}"{_dash(number)}/>{marks}' if path else ''


def _style(number: int) -> str:
    return f's s{number % COLOURS}'


def _dash(number: int) -> str:
    dash = DASHES[number // 2 % len(DASHES)] if number > 1 else DASHES[0]
    return f' stroke-dasharray="{dash}"' if dash else ''


def _text(x: float, y: float, text: str, anchor: str = 'middle', turn: str = '') -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turn}>{escape(text)}</text>'


def _short(value: float) -> str:
    """Write 12000 as 12k, 0.0004 as 4e-4."""
    if 0 < abs(value) < 0.01:
        digits, power = f'{value:.1e}'.split('e')
        return f'{float(digits):g}e{int(power)}'
    return f'{value / 1000:g}k' if abs(value) >= 10_000 else f'{value:.4g}'
