"""CAP messages: they fit the OASIS schema, say what the record says, and names stay data.

The toy city has three neighborhoods, in degrees: 0 is the square from (0, 0) to (1, 1), longitude first; 1 is the
square to its east with a hole; 2 is two squares that do not touch.
"""

import hashlib
from dataclasses import replace
from datetime import datetime
from importlib import resources

import pytest
import shapely
import xmlschema
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from hews_gpu.alerts.cap import City, cap_message, local_time
from hews_gpu.alerts.policy import Delivery

CAP = {"cap": "urn:oasis:names:tc:emergency:cap:1.2"}
SCHEMA = resources.files("hews_gpu") / "alerts" / "schema" / "CAP-v1.2.xsd"
AT = 1_496_325_600  # 2017-06-01T14:00, local
SHAPES = [
    shapely.box(0, 0, 1, 1),
    shapely.Polygon(shapely.box(1, 0, 2, 1).exterior, [shapely.box(1.2, 0.2, 1.4, 0.4).exterior]),
    shapely.MultiPolygon([shapely.box(0, 1, 1, 2), shapely.box(3, 3, 4, 4)]),
]


def city(name="Toy City", names=("A", "B", "C"), timezone="America/New_York", targets=("HOMICIDE", "SHOOTING")):
    shapes = [shape.wkb for shape in SHAPES]
    return City(name=name, timezone=timezone, names=names, targets=targets, outlines=lambda: shapes)


def warning(place=-1, tier="watch", **more):
    name = "city" if place < 0 else f"n{place}"
    times = {"issue_s": AT, "begin_s": AT + 1800, "end_s": AT + 9000}
    numbers = {"probability": 0.31, "threshold": 0.28, "replaces": None, "withheld": False}
    return {"id": f"0a1b2c3d-20170601T1400-{name}-{tier}", "place": place, "tier": tier, **times, **numbers, **more}


def message(given=None, of=None, delivery=None, **more):
    given = warning() if given is None else given
    return cap_message(given, "2017-06-01T18:00:05.250000Z", of or city(), delivery or Delivery(), **more)


def texts(message, name):
    return [one.text for one in etree.fromstring(message).iterfind(f".//cap:{name}", CAP)]


def test_the_schema_is_the_one_that_oasis_published():
    digest = hashlib.sha256(SCHEMA.read_bytes()).hexdigest()
    assert digest == "b7798ef25868b068c97b268bda02d067c7d4ba9373adc5638bf37105804ee723"
    assert digest in (resources.files("hews_gpu") / "alerts" / "schema" / "NOTICE.txt").read_text()


@pytest.mark.parametrize("place", [-1, 0, 1, 2])
@pytest.mark.parametrize("tier", ["watch", "warning"])
def test_every_message_fits_the_schema_by_two_validators(place, tier):
    given = warning(place, tier, replaces="0a1b2c3d-20170601T1350-city-watch")
    for more in ({}, {"replaced": "2017-06-01T17:50:00Z"}, {"cancel": ("2017-06-01T18:20:00Z", "a hoax")}):
        text = message(given, **more)
        xmlschema.XMLSchema(SCHEMA.read_text()).validate(text.decode())
        etree.XMLSchema(etree.fromstring(SCHEMA.read_bytes())).assertValid(etree.fromstring(text))


def test_an_alert_says_what_the_record_says():
    text = message()
    assert texts(text, "identifier") == ["0a1b2c3d-20170601T1400-city-watch"]
    assert texts(text, "msgType") == ["Alert"]
    assert texts(text, "references") == []
    assert (texts(text, "status"), texts(text, "scope")) == (["Exercise"], ["Restricted"])
    assert len(texts(text, "restriction")[0]) > 20
    assert texts(text, "sent") == texts(text, "effective") == ["2017-06-01T14:00:05-04:00"]
    assert texts(text, "onset") == ["2017-06-01T14:30:00-04:00"]
    assert texts(text, "expires") == ["2017-06-01T16:30:00-04:00"]
    assert texts(text, "headline") == ["Homicide or shooting watch: Toy City, 14:30 to 16:30"]
    assert "31.0%" in texts(text, "description")[0]
    assert texts(text, "value") == ["watch", "0.31", "0.28"]
    assert texts(text, "urgency") == ["Expected"]


@pytest.mark.parametrize(
    ("targets", "event", "words"),
    [
        (["HOMICIDE", "SHOOTING"], "Homicide or shooting watch", "at least one homicide or shooting from"),
        (["ROBBERY"], "Robbery watch", "at least one robbery from"),
        (
            ["ARSON", "CAR JACKING", "SHOT = Y"],
            "Arson, car jacking or shot = y watch",
            "one arson, car jacking or shot = y",
        ),
        (["<B> & \x1b[31m\n'X'"], "<b> & \\x1b[31m 'x' watch", "at least one <b> & \\x1b[31m 'x' from"),
    ],
)
def test_an_alert_names_the_categories_that_are_warned_of(targets, event, words):
    text = message(of=city(targets=targets))
    assert texts(text, "event") == [event]
    assert texts(text, "headline")[0].startswith(f"{event}: Toy City")
    assert words in texts(text, "description")[0]


def test_status_and_scope_are_the_policys():
    text = message(delivery=Delivery(status="Actual", scope="Public", sender="desk@city.example"))
    assert (texts(text, "status"), texts(text, "scope")) == (["Actual"], ["Public"])
    assert (texts(text, "sender"), texts(text, "restriction")) == (["desk@city.example"], [])
    assert texts(message(delivery=Delivery(scope="Private")), "addresses") == ["hews@example.org"]


@pytest.mark.parametrize(
    ("probability", "word"), [(0.51, "Likely"), (0.5, "Possible"), (0.01, "Possible"), (0.0099, "Unlikely")]
)
def test_certainty_follows_the_standards_words_of_probability(probability, word):
    assert texts(message(warning(probability=probability)), "certainty") == [word]


def test_a_window_later_than_an_hour_is_of_the_future():
    assert texts(message(warning(begin_s=AT + 3600)), "urgency") == ["Expected"]
    assert texts(message(warning(begin_s=AT + 3601)), "urgency") == ["Future"]


def test_update_and_cancel_name_what_they_replace():
    raised = warning(tier="warning", replaces="0a1b2c3d-20170601T1350-city-watch")
    text = message(raised, replaced="2017-06-01T17:50:00.5Z")
    assert texts(text, "msgType") == ["Update"]
    assert texts(text, "references") == ["hews@example.org,0a1b2c3d-20170601T1350-city-watch,2017-06-01T13:50:00-04:00"]
    alert, text = message(), message(cancel=("2017-06-01T18:20:00Z", "a hoax"))
    assert texts(text, "msgType") == ["Cancel"]
    assert texts(text, "identifier") == ["0a1b2c3d-20170601T1400-city-watch-cancel"]
    triple = [texts(alert, name)[0] for name in ("sender", "identifier", "sent")]
    assert texts(text, "references") == [",".join(triple)]
    assert (texts(text, "sent"), texts(text, "note")) == (["2017-06-01T14:20:00-04:00"], ["a hoax"])
    assert texts(text, "responseType") == ["None"]


@pytest.mark.parametrize(
    ("timezone", "local", "text"),
    [
        ("UTC", "2017-06-01T14:30", "2017-06-01T14:30:00-00:00"),  # never Z, never +00:00
        ("Europe/Berlin", "2017-06-01T14:30", "2017-06-01T14:30:00+02:00"),
        ("Asia/Kathmandu", "2017-06-01T14:30", "2017-06-01T14:30:00+05:45"),
        ("America/New_York", "2017-11-05T00:30", "2017-11-05T00:30:00-04:00"),
        ("America/New_York", "2017-11-05T01:30", "2017-11-05T01:30:00-04:00"),  # the first of the two
        ("America/New_York", "2017-11-05T02:30", "2017-11-05T02:30:00-05:00"),
    ],
)
def test_times_carry_the_offset_of_the_city(timezone, local, text):
    begin_s = int(datetime.fromisoformat(f"{local}+00:00").timestamp())
    given = warning(issue_s=begin_s, begin_s=begin_s, end_s=begin_s + 7200)
    assert texts(message(given, city(timezone=timezone)), "onset") == [text]
    assert local_time(begin_s, city(timezone=timezone)).replace(tzinfo=None) == datetime.fromisoformat(local)


def shape_of(text):
    """The polygons of a message, by shapely, from latitude,longitude pairs."""
    rings = [[tuple(map(float, pair.split(","))) for pair in ring.split(" ")] for ring in texts(text, "polygon")]
    assert all(ring[0] == ring[-1] and len(ring) >= 4 for ring in rings)
    return [shapely.Polygon([(x, y) for y, x in ring]) for ring in rings]


def test_polygons_are_the_outer_rings_of_a_neighborhood():
    assert shape_of(message(warning(0)))[0].equals(SHAPES[0])
    assert shape_of(message(warning(1)))[0].equals(shapely.box(1, 0, 2, 1))  # the protocol knows no holes
    parts = shape_of(message(warning(2)))
    assert len(parts) == 2
    assert shapely.union_all(parts).equals(SHAPES[2])
    assert texts(message(warning(1)), "areaDesc") == ["B, Toy City"]


def test_a_city_is_the_union_of_its_neighborhoods_in_fewer_points():
    parts = shape_of(message())
    assert len(parts) == 2  # one part lies apart
    assert shapely.union_all(parts).area == pytest.approx(4, abs=1e-3)
    round_one = shapely.Point(0, 0).buffer(0.1, quad_segs=500)
    one = replace(city(), outlines=lambda: [round_one.wkb])
    assert len(texts(message(of=one), "polygon")[0].split()) < 60
    assert len(texts(message(warning(0), one), "polygon")[0].split()) > 1000


HOSTILE = [
    "]]>",
    "<script>alert(1)</script>",
    "&amp;&#x3c;",
    '"><!--',
    "a\nb\r\nc\x00\x1b[31m\x85\u2028\u202e",
    "\ud800\ufffe\uffff",
    "x" * 5000,
    "",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_data(name):
    text = message(warning(0), city(name=name, names=[name], targets=[name]), cancel=("2017-06-01T18:20:00Z", name))
    usual = {one.tag for one in etree.fromstring(message(warning(0), cancel=("2017-06-01T18:20:00Z", "why"))).iter()}
    assert usual - {one.tag for one in etree.fromstring(text).iter()} <= {f"{{{CAP['cap']}}}note"}
    assert {one.tag for one in etree.fromstring(text).iter()} <= usual
    assert not any(ord(char) < 32 for char in texts(text, "areaDesc")[0])
    if name and name.isprintable() and len(name) < 100:
        assert texts(text, "areaDesc") == [f"{name}, {name}"]
    assert len(texts(text, "headline")[0]) <= 160


@settings(max_examples=200)
@given(name=st.text(st.characters(), max_size=30))
def test_any_name_makes_a_message_that_fits(name):
    assert (
        len(etree.fromstring(message(of=city(name=name, targets=[name])))) > 5
    )  # it is checked against the schema as it is made


def test_what_does_not_fit_the_schema_is_not_written():
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        message(delivery=replace(Delivery(), status="Nonsense"))
