"""The dashboard, the alerts and docs/watching.md name the metrics that the code exports."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from house_api import serving
from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app.settings import Settings
from app.storage.migrate import upgrade
from workers.metrics import Metrics

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "watching.md").read_text()
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/foldhouse.json").read_text())
PROMETHEUS = ROOT / "deploy/prometheus"
ALERTS: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]

# Of a histogram, which the page names once.
PARTS = ("_bucket", "_count", "_sum")
OF_PROMETHEUS = {"job", "instance", "le"}  # labels


def families(text: str) -> dict[str, Metric]:
    """By the name that queries have: of a histogram without its parts."""
    found = text_string_to_metric_families(text)
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in found
    }


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Metric]]:
    """By the section of the page."""
    folder = tmp_path_factory.mktemp("api")
    settings = Settings(data_dir=folder, database_url=f"sqlite:///{folder}/database")
    upgrade(settings.resolved_database_url)
    with serving(settings) as client:
        client.get("/metrics")  # so that there is a request to count
        api = client.get("/metrics").text
    return {
        "The API": families(api),
        "Workers": families(generate_latest(Metrics().registry).decode()),
    }


def documented(section: str) -> dict[str, set[str]]:
    """The labels of each metric in a section's table."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(foldhouse_\w+)` \| (.*?) ?\| ", text, re.M)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def queries() -> list[str]:
    shown = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    return shown + [rule["expr"] for group in ALERTS for rule in group["rules"]]


def named(query: str) -> set[str]:
    return set(re.findall(r"\b(?:foldhouse|process)_\w+", query))


@pytest.mark.parametrize("section", ["The API", "Workers"])
def test_the_page_names_every_metric(section: str, exported: dict[str, dict[str, Metric]]) -> None:
    own = {name for name in exported[section] if name.startswith("foldhouse_")}
    assert documented(section).keys() == own


def test_the_page_names_the_labels_of_samples(exported: dict[str, dict[str, Metric]]) -> None:
    found = {
        (name, label)
        for section, of in exported.items()
        for name, family in of.items()
        if name in documented(section)
        for sample in family.samples
        for label in sample.labels
        if label not in documented(section)[name] | {"le"}
    }
    assert found == set()


def test_queries_name_what_is_exported(exported: dict[str, dict[str, Metric]]) -> None:
    known = {
        name
        for of in exported.values()
        for metric, family in of.items()
        for name in ({metric + part for part in PARTS} if family.type == "histogram" else {metric})
    }
    assert queries()
    assert [name for query in queries() for name in named(query) if name not in known] == []


def test_queries_sum_by_labels_that_the_metrics_have() -> None:
    labels = documented("The API") | documented("Workers")
    for query in queries():
        names = [re.sub(rf"({'|'.join(PARTS)})$", "", name) for name in named(query)]
        known = set().union(OF_PROMETHEUS, *(labels.get(name, set()) for name in names))
        by = {label for some in re.findall(r"by \((.*?)\)", query) for label in some.split(", ")}
        matched = set(re.findall(r"[{,](\w+)(?:=|!)", query))
        assert by | matched <= known, query


def test_the_dashboard_shows_every_metric(exported: dict[str, dict[str, Metric]]) -> None:
    shown = {name for query in queries() for name in named(query)}
    missing = {
        name
        for of in exported.values()
        for name, family in of.items()
        if name.startswith("foldhouse_")
        and not shown & ({name + part for part in PARTS} if family.type == "histogram" else {name})
    }
    assert missing == set()


def test_alerts_say_what_is_wrong_and_what_to_do() -> None:
    rules = [rule for group in ALERTS for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_the_example_reads_the_alerts() -> None:
    example = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert all((PROMETHEUS / name).is_file() for name in example["rule_files"])
    jobs = {job["job_name"] for job in example["scrape_configs"]}
    named_jobs = {job for query in queries() for job in re.findall(r'job=~?"(.*?)"', query)}
    assert all(any(re.fullmatch(job, name) for name in jobs) for job in named_jobs)


def test_panels_lie_beside_each_other() -> None:
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
