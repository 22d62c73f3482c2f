"""Which columns of a feed are asked for: a short list of those that say when, where and what, and never who.

Open crime tables carry columns on the victim's age, sex and race. They are not asked for, so that they never reach
this machine; nor is any other column that nothing here reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hews_gpu.data.readers.schemas import is_person_level
from hews_gpu.errors import UserError

__all__ = ["choose_fields"]

TIME = "CrimeDateTime CrimeDate CrimeTime Date Time Occurred_Date Occurrence_Date Date_Occ Time_Occ Date_of_Occurrence"
CATEGORY = "Description Primary_Type CrimeCode IUCR Category Offense Offense_Type"
PLACE = "Longitude Latitude Location Block Address Neighborhood District Old_District New_District Post Community_Area"
OTHER = "Shooting Inside_Outside Premise PremiseType Weapon Location_Description Total_Incidents Case_Number CCNumber"


def _normal(name: str) -> str:
    """A column name without capitals, spaces and marks: feeds spell one column in many ways."""
    return "".join(c for c in name.casefold() if c.isalnum())


TIMES, CATEGORIES, PLACES, OTHERS = (frozenset(map(_normal, names.split())) for names in (TIME, CATEGORY, PLACE, OTHER))


def choose_fields(found: Sequence[str], *, columns: Mapping[str, str], field: str) -> list[str]:
    """The columns of a feed to ask for, in the feed's order.

    Args:
        found: all columns of the feed.
        columns: role -> column that the city file names itself; asked for besides the known ones.
        field: named in the error.

    Raises:
        UserError: no column is known to hold the time or the category.
    """
    own = {role: _normal(name) for role, name in columns.items()}
    wanted = {*TIMES, *CATEGORIES, *PLACES, *OTHERS, *own.values()}
    chosen = [name for name in found if _normal(name) in wanted and not is_person_level(name)]
    there = set(map(_normal, chosen))
    times = {*TIMES, *(own[role] for role in ("time", "date") if role in own)}
    categories = {*CATEGORIES, *(own[role] for role in ("category",) if role in own)}
    for role, names in (("time", times), ("category", categories)):
        if not there & names:
            allowed = f"none of its columns is known to hold the {role}; it has {', '.join(found[:40]) or 'none'}"
            raise UserError(field, allowed=allowed, remedy=f'Name it: [incidents.columns] {role} = "COLUMN"')
    return chosen
