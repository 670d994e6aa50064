"""The dashboard, the alerts and the scrape example under deploy/: well formed, and about metrics that exist."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "bertwire.json").read_bytes())
ALERTS: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_bytes())
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
METRIC = re.compile(r"\b(?:bertwire|process|python)_[a-z_]+\b(?!=)")
# What a scrape adds of its own, and the parent of several processes.
SCRAPED = {"job", "instance", "process"}


def expressions() -> Iterator[tuple[str, str]]:
    """Where each PromQL expression stands, and the expression."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield f"${variable['name']}", variable["query"]["query"]


EXPRESSIONS = dict(expressions())


def test_expressions_are_found() -> None:
    """Each place has a name of its own, so that none hides another."""
    assert len(EXPRESSIONS) == len(list(expressions())) > 50


@pytest.mark.parametrize("place", EXPRESSIONS)
def test_names_only_what_exists(place: str, exposed: dict[str, set[str]]) -> None:
    """Each metric of an expression is one that the server shows, and each label that it selects by is the metric's."""
    expression = EXPRESSIONS[place]
    for metric in METRIC.findall(expression):
        assert metric in exposed, metric
    for metric, selector in re.findall(r"\b([a-z_]+)\{([^}]*)\}", expression):
        known = exposed.get(metric, set()) | SCRAPED
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)) <= known, metric
    shown = set().union(*(exposed[metric] for metric in METRIC.findall(expression)), SCRAPED)
    for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        assert set(re.findall(r"\w+", labels)) <= shown


@pytest.mark.parametrize("place", EXPRESSIONS)
def test_expressions_are_well_formed(place: str) -> None:
    """Brackets close in order, and counters are read by their increase."""
    expression = EXPRESSIONS[place]
    open_ = []
    for char in re.sub(r'"[^"]*"', "", expression):
        if char in "([{":
            open_.append(")]}"["([{".index(char)])
        elif char in ")]}":
            assert open_.pop() == char
    assert not open_
    for counter in re.finditer(r"\w+_(?:total|bucket|sum|count)(?:\{[^}]*\})?", expression):
        assert expression[counter.end() :].lstrip().startswith(("[", "offset", "unless", ")")), counter[0]


@pytest.mark.parametrize("place", [place for place in EXPRESSIONS if " " in place])
def test_panels_have_no_series_of_nan(place: str) -> None:
    """Where nothing happened a quantile and a quotient of rates are NaN; they are left out, not drawn and listed."""
    expression = EXPRESSIONS[place]
    quantiles, quotients = expression.count("histogram_quantile("), len(re.findall(r" / (?!86400)", expression))
    assert quantiles == len(re.findall(r"^histogram_quantile\(.*\)\)\) >= 0$", expression))
    assert quotients == len(re.findall(r" / (?:on \(model\) group_left \(\) )?\(sum.*\) > 0\)$", expression))


def named(names: Iterable[str]) -> set[str]:
    """The metrics of samples of these names."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def test_every_metric_is_watched(exposed: dict[str, set[str]]) -> None:
    """No metric of ours is missing from the dashboard; only alerts tell of the two that say yes or no for good."""
    ours = named(name for name in exposed if name.startswith("bertwire_"))
    drawn = named(name for panel in PANELS for each in panel["targets"] for name in METRIC.findall(each["expr"]))
    alerted = named(name for rule in RULES for name in METRIC.findall(rule["expr"]))
    assert ours - drawn == {"bertwire_model_fallback", "bertwire_model_proven"} <= alerted


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_alert_says_what_and_how_bad(rule: dict[str, Any], exposed: dict[str, set[str]]) -> None:
    """An alert has a severity, a summary and a description, and names only labels that its result has."""
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert re.fullmatch(r"\d+[mh]", rule.get("for", "0m"))
    assert set(rule["annotations"]) == {"summary", "description"}
    named = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    # What is aggregated has the labels of the outermost "by", what is not has the metric's.
    outermost = re.search(r"\bby \(([^)]*)\)", rule["expr"])
    metrics = METRIC.findall(rule["expr"])
    left = set(re.findall(r"\w+", outermost[1])) if outermost else set().union(*(exposed[name] for name in metrics))
    assert named <= left | (set() if outermost else SCRAPED)


def test_alerts_have_names_of_their_own() -> None:
    """No two alerts or groups share a name, and the scrape example loads the file."""
    for names in ([rule["alert"] for rule in RULES], [group["name"] for group in ALERTS["groups"]]):
        assert len(set(names)) == len(names)
    example = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_bytes())
    assert [(DEPLOY / "prometheus" / name).is_file() for name in example["rule_files"]] == [True]
    assert [job["job_name"] for job in example["scrape_configs"]] == re.findall(r'up\{job="(\w+)"', RULES[0]["expr"])


def test_dashboard_is_whole() -> None:
    """Panels have ids, titles and places of their own, say what they show, and take their data from the variable."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    cells = [
        (column, line)
        for place in (panel["gridPos"] for panel in panels)
        for column in range(place["x"], place["x"] + place["w"])
        for line in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(column for column, _ in cells) < 24
    for panel in PANELS:
        assert panel["description"]
        assert {source["datasource"]["uid"] for source in (panel, *panel["targets"])} == {"${datasource}"}
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    assert {"datasource", "model"} <= variables
    used = {name for each in EXPRESSIONS.values() for name in re.findall(r"\$(\w+)", each)}
    assert used <= variables | {"__rate_interval"}
