"""The same three incidents as each known kind of table spells them.

31 Jan 2014 23:30  LARCENY    39.2850 -76.6050  (East)
31 Jan 2014 23:59  SHOOTING   39.2850 -76.6150  (West)
 1 Feb 2014 00:00  HOMICIDE   39.2850 -76.6050  (East)
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

Incident = tuple[str, str, float, float]
INCIDENTS: Sequence[Incident] = (
    ("2014-01-31T23:30:00", "LARCENY", -76.605, 39.285),
    ("2014-01-31T23:59:00", "SHOOTING", -76.615, 39.285),
    ("2014-02-01T00:00:00", "HOMICIDE", -76.605, 39.285),
)


def _when(text: str, form: str) -> str:
    return datetime.fromisoformat(text).strftime(form)


def _csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([header, *rows])
    return buffer.getvalue().encode()


def portal(incidents: Sequence[Incident] = INCIDENTS) -> bytes:
    rows = [[_when(t, "%m/%d/%Y"), _when(t, "%H:%M:%S"), what, x, y, "I"] for t, what, x, y in incidents]
    return _csv(["CrimeDate", "CrimeTime", "Description", "Longitude", "Latitude", "Inside/Outside"], rows)


def arcgis(incidents: Sequence[Incident] = INCIDENTS) -> bytes:
    rows = [
        [_when(t, "%Y/%m/%d %H:%M:%S+00"), i, what, y, f"{x:.4f}", "Inside"]
        for i, (t, what, x, y) in enumerate(incidents)
    ]
    return _csv(["CrimeDateTime", "RowID", "Description", "Latitude", "Longitude", "Inside_Outside"], rows)


def chicago(incidents: Sequence[Incident] = INCIDENTS, api: bool = False) -> bytes:
    names = ["ID", "Case Number", "Date", "Primary Type", "IUCR", "Arrest", "Latitude", "Longitude"]
    names = [name.lower().replace(" ", "_") for name in names] if api else names
    form = "%Y-%m-%dT%H:%M:%S.000" if api else "%m/%d/%Y %I:%M:%S %p"
    rows = [[i, f"HX{i}", _when(t, form), what, "0110", "false", y, x] for i, (t, what, x, y) in enumerate(incidents)]
    return _csv(names, rows)


def milliseconds(text: str) -> int:
    """Wall-clock time as an ArcGIS feed gives it: milliseconds since 1970, as if it were UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def feature(incident: Incident, *, point: bool = True, columns: bool = False, **more: Any) -> dict[str, Any]:
    """A GeoJSON feature of an ArcGIS feed; its place is a point, or in columns, or both."""
    when, what, x, y = incident
    properties = {"RowID": 1, "CrimeDateTime": milliseconds(when), "Description": what, "Inside_Outside": "I", **more}
    if columns:
        properties |= {"Longitude": x, "Latitude": y}
    geometry = {"type": "Point", "coordinates": [x, y]} if point else None
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def geojson(incidents: Sequence[Incident] = INCIDENTS, **more: Any) -> bytes:
    features = [feature(incident, **more) for incident in incidents]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def esri_json(incidents: Sequence[Incident] = INCIDENTS) -> bytes:
    features = [
        {
            "attributes": {"CrimeDateTime": milliseconds(t), "Description": what, "Inside_Outside": None},
            "geometry": {"x": x, "y": y},
        }
        for t, what, x, y in incidents
    ]
    return json.dumps({"objectIdFieldName": "RowID", "fields": [{"name": "RowID"}], "features": features}).encode()


def records(incidents: Sequence[Incident] = INCIDENTS) -> bytes:
    """A list of flat records, as the JSON of a Socrata feed; null columns are left out."""
    content = [
        {"date": f"{t}.000", "primary_type": what, "iucr": "0110", "longitude": str(x), "latitude": str(y)}
        | ({} if i else {"block": "1 X ST"})
        for i, (t, what, x, y) in enumerate(incidents)
    ]
    return json.dumps(content).encode()


def write_parquet(path: Path, table: bytes, text: bool = True) -> None:
    """A CSV table as Parquet: all columns as text, or as numbers and times where they look like it."""
    header = next(csv.reader(io.StringIO(table.decode())))
    options = pa.csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()) if text else None)
    pq.write_table(pa.csv.read_csv(pa.BufferReader(table), convert_options=options), path)


EXCEL_DAY_0 = datetime(1899, 12, 30)
SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
LINK = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
STYLES = f'''<styleSheet xmlns="{SHEET}"><cellXfs count="4"><xf numFmtId="0"/><xf numFmtId="22"/><xf numFmtId="14"/>
<xf numFmtId="21"/></cellXfs></styleSheet>'''  # none, date and time of day, date, time of day


def _cell(value: Any, place: str) -> str:
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>' if value else ""
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    style = 0
    if isinstance(value, datetime):
        style, value = 1, (value - EXCEL_DAY_0) / timedelta(days=1)
    elif isinstance(value, date):
        style, value = 2, (value - EXCEL_DAY_0.date()).days
    elif isinstance(value, time):
        style, value = 3, (3600 * value.hour + 60 * value.minute + value.second) / 86400
    return f'<c r="{place}" s="{style}"><v>{value!r}</v></c>'


def excel(hidden: Sequence[str] = (), **sheets: Sequence[Sequence[Any]]) -> bytes:
    """A workbook of sheets by name; moments, dates and times of day are stored as Excel does, as fractions of days."""
    number = {name: i for i, name in enumerate(sheets, 1)}
    state = {name: 'state="hidden"' if name in hidden else "" for name in sheets}
    entries = "".join(f'<sheet name="{n}" sheetId="{i}" r:id="s{i}" {state[n]}/>' for n, i in number.items())
    links = "".join(f'<Relationship Id="s{i}" Type="{LINK}/worksheet" Target="{i}.xml"/>' for i in number.values())
    links += f'<Relationship Id="styles" Type="{LINK}/styles" Target="styles.xml"/>'
    files = {
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}"><Relationship Id="a" Type="{LINK}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{SHEET}" xmlns:r="{LINK}"><sheets>{entries}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}">{links}</Relationships>',
        "xl/styles.xml": STYLES,
    }
    for name, rows in sheets.items():
        cells = [[_cell(v, f"{chr(65 + c)}{r}") for c, v in enumerate(row)] for r, row in enumerate(rows, 1)]
        lines = "".join(f'<row r="{r}">{"".join(row)}</row>' for r, row in enumerate(cells, 1))
        files[f"xl/{number[name]}.xml"] = f'<worksheet xmlns="{SHEET}"><sheetData>{lines}</sheetData></worksheet>'
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def read_incidents(out: Path) -> list[Incident]:
    """The incidents of a prepared folder, in the form of INCIDENTS."""
    rows = pq.read_table(out / "incidents.parquet").to_pylist()
    return [(str(np.datetime64(r["time_s"], "s")), r["category"], r["longitude"], r["latitude"]) for r in rows]
