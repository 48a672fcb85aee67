"""The settings and alert rules of Prometheus: read here, and judged by Prometheus' own tool where there is one."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_tools import prometheus_program

from cluster import monitoring
from cluster.metrics import METRICS

FOLDER = Path(monitoring.__file__).parent / "prometheus"
RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]


def promtool(*arguments: str) -> str:
    program = prometheus_program("promtool")
    done = subprocess.run([program, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_settings_and_rules():
    promtool("check", "config", "--syntax-only", "prometheus.yaml")
    assert f"{len(RULES)} rules" in promtool("check", "rules", "alerts.yaml")


def test_rules_fire_when_they_should_and_else_not():
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yaml")


def test_every_rule_has_a_case_in_which_it_fires():
    cases = yaml.safe_load((FOLDER / "alerts_test.yaml").read_text())["tests"]
    fired = {check["alertname"] for case in cases for check in case["alert_rule_test"] if check.get("exp_alerts")}
    assert fired == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_rules_ask_for_metrics_that_the_service_counts(rule):
    asked = {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"ray_wsss_\w+", rule["expr"])}
    assert asked <= {spec.series for spec in METRICS}
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description"}


def test_the_settings_load_the_rules_that_are_there():
    settings = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    assert all((FOLDER / name).is_file() for name in settings["rule_files"])
