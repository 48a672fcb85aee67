"""Metrics of a real Ray as Prometheus sees them, against the table, the dashboard and the settings that we ship."""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_tools import prometheus_program

from cluster import monitoring
from cluster.metrics import METRICS
from cluster.monitoring.dashboard import build_dashboard

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

SETTINGS = Path(monitoring.__file__).parent / "prometheus"
TOKEN = "0123456789abcdef" * 4
QUERIES = [target["expr"] for panel in build_dashboard()["panels"] for target in panel.get("targets", [])]
NEEDS_GPU = {"ray_node_gpus_utilization"}


@pytest.fixture(scope="module")
def watched():
    """Addresses of a fan-out that runs in a process of its own, on a Ray that wants a token."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_metrics_report_interval_ms": "1000",
    }
    command = [sys.executable, str(Path(__file__).with_name("watched_driver.py"))]
    pipe = subprocess.PIPE
    driver = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True)
    try:
        yield json.loads(driver.stdout.readline())
    finally:
        try:
            driver.communicate(timeout=60)
        finally:
            driver.kill()
    assert driver.returncode == 0


def scrape(url: str, wanted: set[str]):
    """Families of metrics, once every wanted series is there."""
    missing = wanted
    while missing:  # bounded by the test's timeout, which shows what is missing
        time.sleep(0.5)
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                content_type, text = answer.headers["Content-Type"], answer.read().decode()
        except OSError:
            continue  # not up yet, or too busy to answer
        families = list(text_string_to_metric_families(text))
        missing = wanted - {sample.name for family in families for sample in family.samples}
    # Prometheus 3 refuses a target whose content type it does not know.
    assert content_type.startswith("text/plain; version=0.0.4")
    return {family.name: family for family in families}


def test_every_metric_of_the_table_is_there_under_the_name_that_the_dashboard_uses(watched):
    asked = {name for query in QUERIES for name in re.findall(r"ray_\w+", query)}
    families = scrape(watched["metrics"], asked - NEEDS_GPU)
    for spec in METRICS:
        family = families[spec.series.removesuffix("_total")]
        assert family.type == spec.kind
        assert all({"run", *spec.tags} <= set(sample.labels) for sample in family.samples)
        assert {sample.labels["run"] for sample in family.samples} == {"watched"}


@pytest.fixture(scope="module")
def prometheus(watched, tmp_path_factory):
    """Address of a Prometheus with the settings that we ship, but for address, token file and haste."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "token").write_text(TOKEN)
    settings = yaml.safe_load((SETTINGS / "prometheus.yaml").read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings["rule_files"] = [str(SETTINGS / name) for name in settings["rule_files"]]
    discovery = settings["scrape_configs"][0]["http_sd_configs"][0]
    discovery["url"] = discovery["url"].replace("http://head:8265", watched["dashboard"])
    discovery["refresh_interval"] = "1s"
    discovery["authorization"]["credentials_file"] = str(folder / "token")
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [
        prometheus_program("prometheus"),
        f"--config.file={folder}/prometheus.yaml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={address}",
    ]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        yield f"http://{address}"
        server.terminate()


def ask(prometheus: str, expr: str) -> list:
    try:
        with urllib.request.urlopen(
            f"{prometheus}/api/v1/query?query={urllib.parse.quote(expr)}", timeout=10
        ) as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{expr}: {error.read().decode()}") from error
    except OSError:
        return []  # not up yet


def test_a_real_prometheus_finds_the_node_and_answers_every_panel(prometheus):
    pending = {query for query in QUERIES if not any(name in query for name in NEEDS_GPU)}
    while pending:  # bounded by the test's timeout, which shows what is left
        pending = {query for query in pending if not ask(prometheus, filled_in(query))}
        time.sleep(0.5)
    gpu = next(query for query in QUERIES if any(name in query for name in NEEDS_GPU))
    assert ask(prometheus, filled_in(gpu)) == []
    assert ask(prometheus, 'sum(ray_wsss_items_total{status="failed"}) > 0')
    assert ask(prometheus, 'count({otel_scope_name!=""})') == [], "labels that say nothing should be dropped"


def filled_in(query: str) -> str:
    """A panel's query with Grafana's variables as Grafana fills them in."""
    values = {"$__rate_interval": "10s", "$run": ".*", "$cpu_price": "0.02", "$gpu_price": "0.5"}
    for variable, value in values.items():
        query = query.replace(variable, value)
    return query
