"""A city file: every mistake is one line with section, key, value, what is allowed, and a remedy."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from hews_gpu.config import (
    CityConfig,
    TaskConfig,
    city_template,
    known_cities,
    load_city,
    normal_category,
    parse_local_time,
)
from hews_gpu.errors import UserError
from hews_gpu.typed_toml import build

MINIMAL = """
[city]
name = "Toy"
timezone = "America/New_York"
[incidents]
files = ["a.csv"]
targets = ["SHOOTING"]
[neighborhoods]
file = "n.geojson"
name = "name"
[splits]
train = ["2014-01-01", "2015-01-01"]
validation = ["2015-01-01", "2015-06-01"]
test = ["2015-06-01", "2016-01-01"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "toy.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_minimal_file_gets_the_defaults(tmp_path: Path) -> None:
    city = load_city(write(tmp_path, MINIMAL))
    assert city.windows.length_s == 7200
    assert repr(city.steps) == "12"
    assert city.channels.names == ("other",)
    assert city.resolve("a.csv") == tmp_path / "a.csv"
    assert city.splits.span_s("validation")[0] == city.splits.span_s("train")[1]
    assert city.synthetic is None


def test_the_order_of_channels_decides(tmp_path: Path) -> None:
    """A network's weights belong to it."""
    groups = ['a = ["ROBBERY"]', 'b = ["THEFT"]']
    texts = ["\n".join([MINIMAL, "[channels.groups]", *order]) for order in (groups, groups[::-1])]
    one, other = (load_city(write(tmp_path, text)).deciding for text in texts)
    assert one != other


DEFAULTS = {
    "incidents": {
        "target": (),
        "schema": "auto",
        "columns": {},
        "times": "auto",
        "categories": (),
        "unknown_categories": "keep",
        "damaged_files": "stop",
    },
    "neighborhoods": {"layer": (), "tolerance_m": 250.0, "engine": "auto"},
    "map": {
        "style": "reference",
        "bounds": "auto",
        "height": 216,
        "width": 172,
        "disc_radius_px": 3.5,
        "line_width_px": 1.0,
        "palette": {},
    },
    "channels": {"height": 54, "width": 43, "draw": "counts", "disc_radius_px": 1.0, "groups": {}},
    "windows": {"length_s": 7200, "stride_s": 7200, "anchor": "1970-01-01", "anchor_s": 0},
    "task": {"history_s": 86_400, "lead_s": 1800, "horizon_s": 7200},
    "training": {
        "epochs": 8,
        "batch_size": 128,
        "learning_rate": 0.003,
        "weight_decay": 0.01,
        "patience": 3,
        "seed": 0,
    },
    "splits": {"locked": None},
    "fetch": {"neighborhoods_protocol": None, "where": "", "page_rows": 2000},
}


@pytest.mark.parametrize("section", DEFAULTS)
def test_what_a_file_leaves_out_is_as_the_documentation_says(section: str) -> None:
    content = tomllib.loads(MINIMAL)
    content["fetch"] = {**FEED}
    made = getattr(build(CityConfig, content, section=""), section)
    assert repr({key: getattr(made, key) for key in DEFAULTS[section]}) == repr(DEFAULTS[section])  # their types, too


@pytest.mark.parametrize("name", known_cities())
def test_every_shipped_city_loads_and_explains_every_field(name: str, tmp_path: Path) -> None:
    text = city_template(name)
    load_city(write(tmp_path, text))
    for section in ("city", "incidents", "neighborhoods", "map", "channels", "windows", "task", "splits", "training"):
        assert f"[{section}]" in text


def test_the_cities_that_users_ask_for_are_shipped() -> None:
    assert {"baltimore", "chicago", "demo"} <= set(known_cities())
    with pytest.raises(UserError, match="Did you mean 'baltimore'"):
        city_template("baltimor")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('targets = ["SHOOTING"]', 'targts = ["SHOOTING"]', r"\[incidents\] targts: is not a known key.*'targets'"),
        ('targets = ["SHOOTING"]', "", r"\[incidents\] targets = \(\): must name at least one category, unless"),
        ('targets = ["SHOOTING"]', "targets = []", r"\[incidents\] targets = \(\): must name at least one"),
        ('targets = ["SHOOTING"]', 'targets = "SHOOTING"', r"targets = 'SHOOTING': must be a list"),
        ('targets = ["SHOOTING"]', "targets = [1]", r"targets = 1: must be text"),
        ("[city]", "[citi]", r"\[citi\]: is not a known key.*'city'"),
        ("[city]", "path = 3\n[city]", r"\[path\]: is not a known key"),
        ('"America/New_York"', '"America/Gotham"', r"timezone = 'America/Gotham': must be an IANA"),
        (
            'targets = ["SHOOTING"]',
            'targets = ["SHOOTING"]\ntimes = "UTC+5"',
            r"times = 'UTC\+5': must be auto, local, utc or",
        ),
        ('"2015-01-01"]', '"2013-01-01"]', r"\[splits\] train = .*must begin before it ends"),
        ('["2015-01-01", ', '["2014-06-01", ', r"\[splits\] validation = .*must not begin before the last one ends"),
        (
            '"2016-01-01"]',
            '"2016-01-01"]\nlocked = ["2015-12-01", "2017-01-01"]',
            r"\[splits\] locked = .*must not begin before the last one ends",
        ),
        ('["2015-01-01", ', '["soon", ', r"validation = 'soon': must be a local date"),
        ('["2015-01-01", "2015-06-01"]', '["2015-01-01"]', r"validation = .*must hold exactly 2 values"),
        ('name = "name"', 'name = "name"\ntolerance_m = -1', r"tolerance_m = -1.0: must be 0"),
        ('name = "name"', 'name = "name"\ntolerance_m = nan', r"tolerance_m = nan: must be"),
        ('name = "name"', 'name = "name"\n[windows]\nlength_s = 1.5', r"length_s = 1.5: must be a whole number"),
        ('name = "name"', 'name = "name"\n[windows]\nlength_s = true', r"length_s = True: must be a whole number"),
        ('name = "name"', 'name = "name"\n[windows]\nlength_s = 5', r"length_s = 5: must be 60"),
        ('name = "name"', 'name = "name"\n[windows]\nanchor = "x"', r"anchor = 'x': must be a local date"),
        ('name = "name"', 'name = "name"\n[task]\nhistory_s = 7201', r"history_s = 7201: must be a multiple"),
        ('name = "name"', 'name = "name"\n[map]\nstyle = "png"', r"style = 'png': must be one of reference, channels"),
        ('name = "name"', 'name = "name"\n[map]\nbounds = [1, 2, 3]', r"bounds = .*must be auto or"),
        ('name = "name"', 'name = "name"\n[map]\nbounds = [3, 2, 1, 4]', r"bounds = .*west < east"),
        ('name = "name"', 'name = "name"\n[map.palette]\nA = "red"', r"\[map.palette\] A = 'red': must be a color"),
        ('name = "name"', 'name = "name"\n[channels.groups]\na=["X"]\nb=["X"]', r"'X': is in both 'a' and 'b'"),
        ('name = "name"', 'name = "name"\n[channels]\ndraw = "disc"', r"draw = 'disc': must be one of counts, discs"),
        ('name = "name"', 'name = "name"\n[channels]\ndisc_radius_px = 20', r"disc_radius_px = 20.0: must be 0.5..15"),
        ('name = "name"', 'name = "name"\n[training]\nepochs = 0', r"epochs = 0: must be 1 or more"),
        ("[city]", "[city", r"is not valid TOML"),
        (
            'targets = ["SHOOTING"]',
            'targets = ["SHOOTING"]\n[incidents.columns]\ntim = "x"',
            r"tim.*is not a known role.*'time'",
        ),
        (
            'targets = ["SHOOTING"]',
            'targets = ["SHOOTING"]\nunknown_categories = "quarantine"',
            r"categories = \(\): must not be empty",
        ),
    ],
)
def test_a_mistake_is_one_line(old: str, new: str, expected: str, tmp_path: Path) -> None:
    assert old in MINIMAL
    with pytest.raises(UserError, match=expected) as caught:
        load_city(write(tmp_path, MINIMAL.replace(old, new, 1)))
    assert "\n" not in str(caught.value)


YEAR_S = 366 * 86_400
FEED = {"protocol": "arcgis", "incidents": "https://a.org/0", "neighborhoods": "https://a.org/1"}
EDGES = [
    # section, key, the values at the edges of what is allowed, and those just beyond
    ("neighborhoods", "tolerance_m", (0, 50_000), (-0.01, 50_000.01)),
    ("map", "height", (8, 4096), (7, 4097)),
    ("map", "width", (8, 4096), (7, 4097)),
    ("map", "disc_radius_px", (0.5, 15), (0.49, 15.01)),
    ("map", "line_width_px", (0.1, 8), (0.09, 8.01)),
    ("map", "bounds", ([-180, -90, 180, 90],), ([-180.1, -90, 180, 90], [-180, -90.1, 180, 90])),
    ("map", "bounds", ([1, 2, 1.1, 2.1],), ([-180, -90, 180.1, 90], [-180, -90, 180, 90.1])),
    ("map", "bounds", (), ([1, 2, 1, 3], [1, 2, 0, 3], [1, 2, 3, 2], [1, 2, 3, 1], [1, 2, 3], [1, 2, 3, 4, 5])),
    (
        "map",
        "palette",
        ({"A": "#09afAF"},),
        tuple({"A": text} for text in ("#09afA", "#09afAF0", "009afAF", "#09afAG")),
    ),
    ("channels", "height", (1, 4096), (0, 4097)),
    ("channels", "width", (1, 4096), (0, 4097)),
    ("channels", "disc_radius_px", (0.5, 15), (0.49, 15.01)),
    ("channels", "groups", ({"others": ["X"]},), ({"other": ["X"]}, {"a": ["X"], "b": ["Y", " x "]})),
    ("map", "palette", ({"A": "#123456"},), ({"A": "#G23456"}, {"A": "#t23456"}, {"A": "#12345678"})),
    ("windows", "length_s", (60, YEAR_S), (59, YEAR_S + 1)),
    ("windows", "stride_s", (60, YEAR_S), (59, YEAR_S + 1)),
    ("task", "history_s", (7200, 14_400), (0, -7200, 7199, 10_800)),
    ("task", "lead_s", (0, 1), (-1,)),
    ("task", "horizon_s", (1,), (0, -1)),
    ("splits", "train", (["2014-01-01", "2014-01-02"],), (["2014-01-01"] * 2, ["2014-01-01", "2015-01-01T00:01"])),
    ("splits", "locked", (["2016-01-01", "2016-01-02"],), (["2016-01-01"] * 2, ["2015-12-31T23:59", "2017-01-01"])),
    ("incidents", "files", (["a.csv"],), ([],)),
    ("incidents", "targets", (["A"],), ([],)),
    ("training", "epochs", (1,), (0,)),
    ("training", "batch_size", (1,), (0,)),
    ("training", "patience", (1,), (0,)),
    ("training", "learning_rate", (1e-9,), (0, -1e-9)),
    ("training", "weight_decay", (0,), (-1e-9,)),
    ("training", "seed", (0, 2**63 - 1), (-1, 2**63)),
    ("fetch", "page_rows", (1, 100_000), (0, 100_001)),
    ("fetch", "incidents", ("http://a.org",), ("ftp://a.org", "a.org")),
    ("fetch", "neighborhoods", ("http://a.org",), ("ftp://a.org", "a.org")),
]


@pytest.mark.parametrize(("section", "key", "allowed", "refused"), EDGES)
def test_every_range_ends_where_it_says(section: str, key: str, allowed: tuple, refused: tuple) -> None:
    def city(value: object) -> None:
        content = tomllib.loads(MINIMAL)
        content[section] = {**(FEED if section == "fetch" else content.get(section, {})), key: value}
        if key == "length_s":
            content["task"] = {"history_s": value}
        build(CityConfig, content, section="")

    for value in allowed:
        city(value)
    assert TaskConfig(history_s=1).history_s == 1  # that it holds whole windows, the city requires
    for value in refused:
        named = r"\[splits\] " if section == "splits" else rf"\[{section}(\] {key} = |\.{key}\])"
        with pytest.raises(UserError, match=named):
            city(value)


def test_categories_to_be_quarantined_need_a_list_that_holds_the_targets() -> None:
    content = tomllib.loads(MINIMAL)
    content["incidents"] |= {"unknown_categories": "quarantine", "categories": ["LARCENY", " shooting"]}
    assert build(CityConfig, content, section="").incidents.categories == ("LARCENY", "SHOOTING")
    content["incidents"]["categories"] = ["LARCENY"]
    with pytest.raises(UserError, match=r"targets = \['SHOOTING'\]: must be among"):
        build(CityConfig, content, section="")


def test_categories_are_compared_without_case_and_spacing(tmp_path: Path) -> None:
    text = MINIMAL.replace('["SHOOTING"]', '[" Shooting", "shooting "]\ncategories = ["SHOOTING", "agg.  assault"]')
    text += '[map.palette]\n"Agg. Assault" = "#123456"\n[channels.groups]\nassault = ["agg. assault", "Agg. Assault"]\n'
    city = load_city(write(tmp_path, text))
    assert city.incidents.targets == ("SHOOTING",)
    assert city.incidents.categories == ("SHOOTING", "AGG. ASSAULT")
    assert city.map.palette == {"AGG. ASSAULT": "#123456"}
    assert city.channels.groups == {"assault": ("AGG. ASSAULT",)}


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("homicide\0", "HOMICIDE"),  # ASCII, but not all of it can be seen
        ("homi\u200bcide", "HOMICIDE"),  # a space of no width
        ("a\u00a0b\tc", "A B C"),
        ("cafe\u0301", "CAF\u00c9"),  # letter and accent become one
        ("\u00e9", "\u00c9"),
    ],
)
def test_what_cannot_be_seen_tells_no_categories_apart(text: str, normal: str) -> None:
    assert normal_category(text) == normal


RULE = {"column": "Shot", "values": ["y ", "Y", "yes,  fatal"]}


def test_values_that_mark_targets_are_compared_like_categories() -> None:
    content = tomllib.loads(MINIMAL)
    content["incidents"]["target"] = [RULE]
    city = build(CityConfig, content, section="")
    assert city.incidents.target[0].values == ("Y", "YES, FATAL")
    assert city.incidents.target_names == ("SHOOTING", "Shot = Y or YES, FATAL")


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([{**RULE, "values": []}], r"values = \(\): must name at least one value, and no blank one"),
        ([{**RULE, "values": ["Y", " "]}], r"values = \('Y', ''\): must name at least one"),
        ([RULE, RULE], r"column = \['Shot', 'Shot'\]: must be another in each\. List its values in one"),
    ],
)
def test_a_mistaken_rule_for_targets_is_refused(rules: list[dict[str, object]], message: str) -> None:
    content = tomllib.loads(MINIMAL)
    content["incidents"]["target"] = rules
    with pytest.raises(UserError, match=message):
        build(CityConfig, content, section="")


@pytest.mark.parametrize("times", ["auto", "local", "utc", "Europe/Madrid"])
def test_tables_go_by_the_citys_clock_by_utc_or_by_a_zones(times: str) -> None:
    content = tomllib.loads(MINIMAL)
    content["incidents"]["times"] = times
    assert build(CityConfig, content, section="").incidents.times == times


def test_every_role_of_a_column_may_be_named() -> None:
    content = tomllib.loads(MINIMAL)
    roles = {role: "x" for role in ("time", "date", "time_of_day", "longitude", "latitude", "category")}
    content["incidents"]["columns"] = roles
    assert build(CityConfig, content, section="").incidents.columns == roles


def test_a_category_in_two_channels_names_both() -> None:
    content = tomllib.loads(MINIMAL)
    content["channels"] = {"groups": {"other": []}}
    with pytest.raises(UserError, match=r"\[channels\.groups\] = 'other': is made by itself"):
        build(CityConfig, content, section="")
    content["channels"] = {"groups": {"a": ["X"], "b": ["Y", "x"]}}
    with pytest.raises(UserError, match=r"\[channels\.groups\] = 'X': is in both 'a' and 'b'"):
        build(CityConfig, content, section="")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "toy.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"toy\.toml: is not UTF-8 text"):
        load_city(tmp_path / "toy.toml")
    with pytest.raises(UserError, match="cannot be read"):
        load_city(tmp_path)


def test_a_missing_file_names_the_way_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.toml.*does not exist.*hews init"):
        load_city(tmp_path / "nowhere.toml")


def test_local_times_have_no_zone() -> None:
    assert parse_local_time("x", "1970-01-02T01:00") == 90_000
    with pytest.raises(UserError, match="must be a local date or time"):
        parse_local_time("x", "1970-01-01T00:00+01:00")
