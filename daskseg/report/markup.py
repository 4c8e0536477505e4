"""HTML by functions: what is text is escaped, what is markup says so by its type.

Covers: elements, tables, text that is safe to stand in a script element.
Does not cover: what the page says (daskseg.report.blocks) and how it looks (report.css).
See also: daskseg.report.page.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

__all__ = ["Html", "data_table", "disclosure", "join", "script_json", "tag"]

_VOID: Final = frozenset({"meta", "hr", "br", "col"})


class Html(str):
    """Text that is already HTML and must not be escaped again."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[str | None] | None"


def join(children: Child) -> Html:
    """Put children behind each other: `Html` as it is, other text escaped, None left out."""
    if children is None:
        return Html("")
    if isinstance(children, Html):
        return children
    if isinstance(children, str):
        return Html(html.escape(children, quote=True))
    return Html("".join(join(child) for child in children))


def tag(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Html:
    """Build one element.

    Parameters
    ----------
    name : str
        Name of the element.
    *children : str, Html, None or an iterable of these
        Text is escaped, `Html` is not, None is left out.
    **attributes : str, int, bool or None
        ``class_`` means ``class`` and ``aria_label`` means ``aria-label``. True gives the bare
        attribute; False and None leave it out. Values are escaped.

    Returns
    -------
    Html
        The element.

    Examples
    --------
    >>> tag("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        parts.append(label if value is True else f'{label}="{html.escape(str(value))}"')
    opening = f"<{' '.join(parts)}>"
    if name in _VOID:
        return Html(opening)
    return Html(f"{opening}{''.join(join(child) for child in children)}</{name}>")


def data_table(
    caption: str,
    header: Sequence[str | Html],
    rows: Iterable[Sequence[str | Html]],
    *,
    words: Iterable[int] = (),
    footer: Sequence[str | Html] | None = None,
    class_: str | None = None,
) -> Html:
    """Build a table in a frame that scrolls sideways by touch and by keyboard.

    Parameters
    ----------
    caption : str
        What the table shows; read aloud, not drawn.
    header : sequence of str or Html
        One per column.
    rows : iterable of sequences of str or Html
        The first cell of each row is its header.
    words : iterable of int
        Columns of words, aligned left; all others but the first are numbers, aligned right.
    footer : sequence of str or Html, optional
        A last, emphasised row.
    class_ : str, optional
        A further class of the table.

    Returns
    -------
    Html
        The framed table.
    """
    left = {0, *words}

    def cells(row: Sequence[str | Html]) -> list[Html]:
        return [
            tag("th", cell, scope="row")
            if column == 0
            else tag("td", cell, class_=None if column in left else "number")
            for column, cell in enumerate(row)
        ]

    head = [
        tag("th", cell, scope="col", class_=None if column in left else "number")
        for column, cell in enumerate(header)
    ]
    table = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", head)),
        tag("tbody", [tag("tr", cells(row)) for row in rows]),
        tag("tfoot", tag("tr", cells(footer))) if footer else None,
        class_=class_,
    )
    return tag("div", table, class_="scroll", role="region", aria_label=caption, tabindex=0)


def disclosure(summary: str, *children: Child) -> Html:
    """Build a part that opens on demand."""
    return tag("details", tag("summary", summary), *children)


def script_json(value: object) -> Html:
    """Return JSON that cannot end the script element it stands in."""
    plain = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return Html(plain.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
