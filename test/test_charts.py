"""Charts: scales and ticks by hand, and what is drawn, read back from the SVG."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

from depth_kd_training.charts import Axis, chart, legend, Line
import pytest


def drawn(*lines, **options):
    """Parse a chart as XML, which HTML's SVG is here, too."""
    return ElementTree.fromstring(chart('A <title>', lines, 'x & x', 'MAE, m', **options))


def lines_of(svg):
    """Give the points of the lines in order; a gap begins a new one."""
    paths = [p.get('d') for p in svg.iter('path') if p.get('class').startswith('s ')]
    return [
        [tuple(map(float, point.split())) for point in piece.split('L')]
        for path in paths
        if 'L' in path
        for piece in path.split('M')
        if piece
    ]


def test_scales_by_hand():
    assert Axis(0, 10, 100, 200)(2.5) == 125
    assert Axis(0, 10, 200, 100)(2.5) == 175
    assert Axis(1, 100, 0, 1, log=True)(10) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ('low', 'high', 'log', 'expected'),
    [
        (0, 10, False, [0, 2, 4, 6, 8, 10]),
        (-0.3, 0.9, False, [-0.2, 0, 0.2, 0.4, 0.6, 0.8]),
        (950, 4100, False, [1000, 2000, 3000, 4000]),
        (0, 9.4, False, [0, 2, 4, 6, 8]),
        (0.4, 30, True, [0.5, 1, 2, 5, 10, 20]),
    ],
)
def test_ticks_are_round_numbers_within(low, high, log, expected):
    assert Axis(low, high, 0, 1, log).ticks() == pytest.approx(expected)


def test_a_straight_line_is_drawn_straight():
    """Three points of y = x: pixels go right and up by the same steps."""
    ((a, b, c),) = lines_of(drawn(Line('m', [1, 2, 3], [1, 2, 3])))
    assert (b[0] - a[0], b[1] - a[1]) == pytest.approx((c[0] - b[0], c[1] - b[1]), abs=0.11)
    assert b[0] > a[0] and b[1] < a[1]


def test_a_wide_range_is_logarithmic():
    """Factors of 10 are equal steps."""
    ((a, b, c),) = lines_of(drawn(Line('m', [0, 1, 2], [1, 10, 100])))
    assert b[1] - a[1] == pytest.approx(c[1] - b[1], abs=0.11)


def test_gaps_are_left_open_and_intervals_drawn():
    line = Line('m', range(5), [1, 2, None, 4, 5], [(0.5, 1.5), None, None, (3, 5), (4, 6)])
    svg = drawn(line)
    assert [len(piece) for piece in lines_of(svg)] == [2, 2]
    assert len([p for p in svg.iter('path') if re.search('M.*V', p.get('d'))]) == 3
    assert [c.find('title').text for c in svg.iter('circle')] == ['m: 1', 'm: 2', 'm: 4', 'm: 5']


def test_text_is_text_and_escaped():
    svg = drawn(Line('m', [0, 1], [1, 2]), categories=['0-20', '20-40 <b>'])
    texts = [text.text for text in svg.iter('text')]
    assert {'0-20', '20-40 <b>', 'x & x', 'MAE, m'} <= set(texts)
    assert svg.get('role') == 'img' and svg.get('aria-label') == 'A <title>'


def test_small_and_large_numbers_are_short():
    texts = [t.text for t in drawn(Line('m', [0, 40_000], [0, 1e-3])).iter('text')]
    assert {'0', '2e-4', '1e-3', '20k', '40k'} <= set(texts)


def test_nothing_to_draw_is_an_empty_chart():
    assert lines_of(drawn(Line('m', [], []), Line('n', [1], [None]))) == []
    assert all(math.isfinite(float(t.get('x'))) for t in drawn(Line('m', [3], [0])).iter('text'))


def test_the_legend_names_the_lines():
    found = ElementTree.fromstring(legend(['a', '<b>', 'c']))
    assert [''.join(item.itertext()) for item in found] == ['a', '<b>', 'c']
    assert len({item.find('svg/path').get('class') for item in found}) == 3
