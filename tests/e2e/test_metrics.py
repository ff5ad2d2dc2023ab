"""/metrics as Prometheus wants it: the rules of `promtool check metrics`, held against a daemon with something to tell."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api_client import Api
from declare import l4

# Words of a name that are a unit, but not the base unit, and short forms of units.
OTHER_UNITS = set("milliseconds microseconds nanoseconds minutes hours days weeks bits kilobytes megabytes gigabytes "
                  "kibibytes mebibytes gibibytes percent fahrenheit kelvin grams milligrams".split())
SHORT_UNITS = set("s ms us ns sec b kb mb gb tb pb m h d".split())
KINDS = {"gauge", "counter", "histogram", "summary"}
ENDINGS = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}


def declared(text):
    """By name of a family: its type and its help."""
    found = {}
    for kind, name, rest in re.findall(r"^# (HELP|TYPE) (\S+) ?(.*)$", text, re.MULTILINE):
        assert kind not in found.setdefault(name, {}), "%s of %s stands there twice" % (kind, name)
        found[name][kind] = rest
    return found


def faults_of_name(name, kind):
    words = set(name.split("_"))
    if kind == "counter" and not name.endswith("_total"):
        yield "a counter ends in _total"
    if kind != "counter" and name.endswith("_total"):
        yield "only a counter ends in _total"
    if name.endswith(("_bucket", "_count", "_sum")):
        yield "that ending is for the samples of a histogram"
    if words & KINDS:
        yield "the type is no part of the name"
    if words & (OTHER_UNITS | SHORT_UNITS):
        yield "the unit is a base unit, spelled out"
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        yield "a name has small letters, digits and _"


def faults(text):
    """What is wrong with the answer, as NAME: FAULT."""
    found = []
    families = declared(text)
    for name, said in families.items():
        kind = said.get("TYPE")
        if kind not in KINDS:
            found.append("%s: no type" % name)
        if not said.get("HELP"):
            found.append("%s: no help" % name)
        found += ["%s: %s" % (name, fault) for fault in faults_of_name(name, kind)]
    known = {name + end for name, said in families.items() for end in ENDINGS.get(said.get("TYPE"), ("",))}
    seen = set()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            found += ["%s: twice" % sample.name] if key in seen else []
            found += ["%s: of no family" % sample.name] if sample.name not in known else []
            found += ["%s: label %s" % (sample.name, label) for label in sample.labels
                      if not re.fullmatch("[a-z][a-z0-9_]*", label)
                      or label in ("le", "quantile") and family.type not in ENDINGS]
            seen.add(key)
    return found


def test_prometheus_has_nothing_to_say_about_the_metrics(world):
    agent = world.agent(nodes=["n1"])
    agent.add_service("db", l4("10.0.0.1", world.ip(1) + ":5432"))
    api = Api(world, agent).wait_exposures(1)
    text = api.get("/metrics").body.decode()
    assert len(declared(text)) > 20
    assert faults(text) == []


@pytest.mark.parametrize("text, fault", [
    ("# TYPE a_total counter\na_total 1\n", "a_total: no help"),
    ("# HELP a x\n# TYPE a counter\na 1\n", "a: a counter ends in _total"),
    ("# HELP a_total x\n# TYPE a_total gauge\na_total 1\n", "a_total: only a counter ends in _total"),
    ("# HELP a_ms x\n# TYPE a_ms gauge\na_ms 1\n", "a_ms: the unit is a base unit, spelled out"),
    ("# HELP aB x\n# TYPE aB gauge\naB 1\n", "aB: a name has small letters, digits and _"),
    ("# HELP a x\n# TYPE a gauge\na 1\na 2\n", "a: twice"),
    ("# HELP a x\n# TYPE a gauge\na{le=\"1\"} 1\n", "a: label le"),
])
def test_what_prometheus_complains_of_is_found(text, fault):
    assert fault in faults(text)
