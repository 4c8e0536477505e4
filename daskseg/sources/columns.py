"""Which column plays which role.

Covers: matching the headers of a ledger to roles, by a mapping of the user or by the lists in
``presets.toml``; errors that show the headers found and the option that settles it.
Does not cover: the values of the columns (see `sources.ledger`).
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from daskseg.config import LEDGER_ROLES
from daskseg.errors import InputError, UsageError

# With so many roles missing besides one, it is another kind of table.
MANY_MISSING = 2
# These two only inform: of several candidates the first of the list is taken.
_INFORMATIVE = ("description", "country")


@cache
def _settings() -> dict[str, Any]:
    path = resources.files("daskseg.sources") / "presets.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def preset_names() -> tuple[str, ...]:
    """Return the names of the built-in presets.

    Examples
    --------
    >>> preset_names()
    ('online_retail', 'generic')
    """
    return tuple(_settings()["presets"])


def default_non_product_codes() -> tuple[str, ...]:
    """Return the product codes that stand for no product, in upper case.

    Examples
    --------
    >>> "POST" in default_non_product_codes()
    True
    """
    return tuple(_settings()["non_products"]["codes"])


def plain_header(header: str) -> str:
    """Return a header without case, spaces, underscores, hyphens and byte-order mark.

    Examples
    --------
    >>> plain_header("Customer ID") == plain_header("customer_id") == "customerid"
    True
    """
    kept = (letter for letter in header.casefold() if letter not in " _-\t\u00a0\ufeff")
    return "".join(kept)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _aliases(preset: str | None) -> dict[str, list[str]]:
    presets = _settings()["presets"]
    if preset is not None and preset not in presets:
        raise UsageError(
            f"preset {preset!r} is not known; the presets are {_quoted(preset_names())}. "
            "Leave it out to try them all, or map columns with --column ROLE=HEADER."
        )
    chosen = presets.values() if preset is None else [presets[preset]]
    joined: dict[str, list[str]] = {role: [] for role in LEDGER_ROLES}
    for table in chosen:
        for role in LEDGER_ROLES:
            joined[role] += [plain_header(alias) for alias in table.get(role, [])]
    return joined


def _missing(
    roles: Sequence[str], headers: Sequence[str], found: Mapping[str, str], known: Sequence[str]
) -> InputError:
    """Return the error for roles without a column; the first of them is explained."""
    role, *others = roles
    free = [str(header) for header in headers if header not in found.values()]
    plain = {plain_header(header): header for header in free}
    near = [
        plain[match]
        for wanted in (plain_header(role), *known)
        for match in difflib.get_close_matches(wanted, plain, n=2, cutoff=0.6)
    ]
    near = list(dict.fromkeys(near))[:3]
    hint = f" Nearest: {_quoted(near)}." if near else ""
    example = near[0] if near else "HEADER"
    also = f" Nor is there one for {_quoted(others)}." if others else ""
    if len(others) >= MANY_MISSING:
        also += (
            " If this is no ledger of order lines but a table with one row per customer, use "
            "'daskseg segment' or 'daskseg check' with --id COLUMN."
        )
    return InputError(
        f"no column for the role {role!r} among the headers {_quoted([*map(str, headers)])}."
        f'{hint} Say which one it is: --column {role}="{example}" '
        f"(in Python: columns={{{role!r}: {example!r}}}).{also}"
    )


def _from_mapping(headers: Sequence[str], mapping: Mapping[str, str]) -> dict[str, str]:
    unknown = sorted(set(mapping) - set(LEDGER_ROLES))
    if unknown:
        near = difflib.get_close_matches(unknown[0], LEDGER_ROLES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(
            f"{unknown[0]!r} is not a role of a ledger column.{hint} The roles are "
            f"{_quoted(LEDGER_ROLES)}."
        )
    found: dict[str, str] = {}
    for role, wanted in mapping.items():
        same = [header for header in headers if header == wanted]
        same = same or [h for h in headers if plain_header(str(h)) == plain_header(wanted)]
        if not same:
            near = difflib.get_close_matches(wanted, [str(header) for header in headers], n=3)
            hint = f" Nearest: {_quoted(near)}." if near else ""
            raise InputError(
                f"the column {wanted!r}, asked for as {role!r}, is not among the headers "
                f"{_quoted([*map(str, headers)])}.{hint}"
            )
        if len(same) > 1:
            raise UsageError(
                f"the column {wanted!r}, asked for as {role!r}, fits {_quoted(same)}; "
                f"write the exact header."
            )
        found[role] = same[0]
    taken: dict[str, str] = {}
    for role, header in found.items():
        if header in taken:
            raise UsageError(
                f"the column {header!r} cannot be both {taken[header]!r} and {role!r}: "
                "one column has one role."
            )
        taken[header] = role
    return found


def resolve(
    headers: Sequence[str],
    *,
    mapping: Mapping[str, str] | None = None,
    preset: str | None = None,
) -> dict[str, str]:
    """Find the column of each role of a ledger.

    Parameters
    ----------
    headers : sequence of str
        The headers of the ledger, as they stand in it.
    mapping : mapping of role to header, optional
        What the user said; it wins over the presets.
    preset : str, optional
        Use this preset only; by default the lists of all presets are joined.

    Returns
    -------
    dict of role to header
        Always ``customer_id``, ``order_id``, ``date`` and either ``quantity`` with
        ``unit_price`` or ``amount``; the others as they are found. Quantity and price win
        over an amount unless the mapping names the amount.

    Raises
    ------
    InputError
        No column for a role that is needed, or a mapped header that does not exist.
    UsageError
        Several columns fit a role, or the mapping or the preset is not known.

    Examples
    --------
    >>> roles = resolve(["Invoice", "Customer ID", "InvoiceDate", "Quantity", "Price"])
    >>> roles["customer_id"], roles["unit_price"]
    ('Customer ID', 'Price')
    """
    found = _from_mapping(headers, mapping or {})
    aliases = _aliases(preset)
    used = set(found.values())
    money_given = {"amount", "quantity", "unit_price"} & set(found)
    for role in LEDGER_ROLES:
        if role in found:
            continue
        if role in ("quantity", "unit_price") and "amount" in money_given:
            continue
        if role == "amount" and (money_given or {"quantity", "unit_price"} <= set(found)):
            continue
        fitting = [h for h in headers if plain_header(str(h)) in aliases[role] and h not in used]
        if len(fitting) > 1 and role not in _INFORMATIVE:
            raise UsageError(
                f"the columns {_quoted(fitting)} all fit the role {role!r}. "
                f'Say which one it is: --column {role}="{fitting[0]}" '
                f"(in Python: columns={{{role!r}: {fitting[0]!r}}})."
            )
        if fitting:
            found[role] = fitting[0]
            used.add(fitting[0])
    if "amount" in found and not {"amount"} & money_given:
        # A lone quantity or price beside an amount is no role: the amount says it all.
        found.pop("quantity", None)
        found.pop("unit_price", None)
    needed = ["customer_id", "order_id", "date"]
    needed += [] if "amount" in found else ["quantity", "unit_price"]
    missing = [role for role in needed if role not in found]
    if missing:
        raise _missing(missing, headers, found, aliases[missing[0]])
    return {role: found[role] for role in LEDGER_ROLES if role in found}
