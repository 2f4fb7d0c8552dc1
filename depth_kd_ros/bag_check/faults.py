"""What is wrong with a recording, how much it matters and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ERROR, WARNING, NOTE = 'error', 'warning', 'note'
WEIGHTS = (ERROR, WARNING, NOTE)


@dataclass(frozen=True)
class Fault:
    """
    One problem: an `error` makes the bag unusable as it is, a `warning` worse, a `note` neither.

    `name` is a short fixed word for programs; `found` says what was measured, `why` what it does,
    `remedy` what to do.
    """

    weight: str
    name: str
    found: str
    why: str
    remedy: str


def by_weight(faults: Iterable[Fault]) -> list[Fault]:
    """Sort faults: errors first, equals in the order found."""
    return sorted(faults, key=lambda fault: WEIGHTS.index(fault.weight))
