"""docker/compose.yaml: parsed, and checked against the files, ports and settings that it names."""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
FOLDER = REPOSITORY / "docker"
MONITORING = REPOSITORY / "cluster" / "monitoring"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
CONSTRAINTS = (REPOSITORY / "requirements" / "constraints.txt").read_text()
PINNED = dict(re.findall(r"^([\w.-]+)==(\S+)", CONSTRAINTS, re.MULTILINE))


def mounts(service: str) -> dict[str, str]:
    """Target -> source of a service's volumes."""
    parts = [re.sub(r"\$\{\w+:-(.*?)\}", r"\1", volume).split(":") for volume in SERVICES[service].get("volumes", [])]
    return {target: source for source, target, *_ in parts}


@pytest.mark.parametrize("name", list(SERVICES))
def test_images_are_pinned(name):
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*", SERVICES[name]["image"])


def test_our_image_is_the_version_of_the_package_and_is_built_from_the_dockerfile():
    import tomllib

    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    ours = {SERVICES[name]["image"] for name in ("head", "worker", "bucket")}
    assert ours == {f"wsss-jobs:{version}-cpu"}
    build = SERVICES["head"]["build"]
    dockerfile = (FOLDER / build["context"] / build["dockerfile"]).read_text()
    assert re.search(rf"^FROM \S+ AS {build['target']}$", dockerfile, re.MULTILINE)


def test_the_s3_server_is_the_one_that_the_tests_use():
    assert SERVICES["s3"]["image"] == f"motoserver/moto:{PINNED['moto']}"


@pytest.mark.parametrize("name", list(SERVICES))
def test_what_is_mounted_exists_and_cannot_be_written(name):
    for volume in SERVICES[name].get("volumes", []):
        if volume.split(":")[0] in COMPOSE["volumes"]:
            continue
        assert volume.endswith(":ro")
    for source in mounts(name).values():
        if source not in COMPOSE["volumes"] and source != "../demo/data":
            assert (FOLDER / source).resolve().exists(), source


@pytest.mark.parametrize("name", list(SERVICES))
def test_only_this_machine_can_connect(name):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_no_secret_is_written_down():
    text = (FOLDER / "compose.yaml").read_text()
    assert "${RAY_AUTH_TOKEN:?" in text
    environments = [SERVICES[name].get("environment", {}) for name in SERVICES]
    secrets = {value for each in environments for key, value in each.items() if re.search("TOKEN|SECRET|PASSWORD", key)}
    assert {value for value in secrets if not value.startswith("${")} == {"laptop"}


def test_every_address_inside_names_a_service_and_a_port_that_it_listens_on():
    listens = {
        "head": {int(port) for port in re.findall(r"port=(\d+)", SERVICES["head"]["command"])} | {8265},
        "s3": {5000},
        "prometheus": {9090},
        "grafana": {3000},
    }
    texts = [
        json.dumps([SERVICES, COMPOSE["x-node"]]),
        (MONITORING / "prometheus" / "prometheus.yaml").read_text(),
        (MONITORING / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text(),
    ]
    addresses = [urlsplit(url) for text in texts for url in re.findall(r"http://[\w.:-]+", text)]
    inside = [address for address in addresses if address.hostname != "localhost"]
    assert {address.hostname for address in inside} == {"head", "s3", "prometheus", "grafana"}
    assert all(address.port in listens[address.hostname] for address in inside)
    assert "--address=head:6379" in SERVICES["worker"]["command"]
    for service, published in listens.items():
        for port in SERVICES[service]["ports"]:
            assert int(port.split(":")[2]) in published


def test_prometheus_finds_its_settings_rules_and_token():
    settings = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yaml").read_text())
    folder = mounts("prometheus")["/etc/prometheus"]
    assert (FOLDER / folder).resolve() == MONITORING / "prometheus"
    assert "--config.file=/etc/prometheus/prometheus.yaml" in SERVICES["prometheus"]["command"]
    token_file = settings["scrape_configs"][0]["http_sd_configs"][0]["authorization"]["credentials_file"]
    secret = Path(token_file).name
    assert Path(token_file).parent == Path("/run/secrets")
    assert SERVICES["prometheus"]["secrets"] == [secret]
    assert COMPOSE["secrets"][secret] == {"environment": "RAY_AUTH_TOKEN"}


def test_grafana_finds_its_source_and_the_generated_dashboard():
    provisioning = MONITORING / "grafana" / "provisioning"
    assert (FOLDER / mounts("grafana")["/etc/grafana/provisioning"]).resolve() == provisioning
    provider = yaml.safe_load((provisioning / "dashboards" / "wsss.yaml").read_text())["providers"][0]
    dashboard = f"{provider['options']['path']}/wsss.json"
    assert (FOLDER / mounts("grafana")[dashboard]).resolve() == MONITORING / "grafana" / "wsss.json"
    assert SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == dashboard
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"][0]
    settings = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yaml").read_text())
    assert source["jsonData"]["timeInterval"] == settings["global"]["scrape_interval"]


def test_nothing_waits_for_a_service_that_is_not_there_or_has_no_health_check():
    for name, service in SERVICES.items():
        waits = service.get("depends_on", {})
        for other in waits:
            assert other in SERVICES, name
            if isinstance(waits, dict) and waits[other]["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
