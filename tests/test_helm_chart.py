"""The Helm chart, rendered by Helm's own library: what comes out is valid for Kubernetes, and names
only commands, settings, paths and tables that exist.

No cluster runs in the tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml
from helm_python.chart import Chart, lint
from helm_python.errors import HelmError
from sqlalchemy import text

from app.cli import cli
from app.main import create_app
from app.settings import Settings
from app.storage.database import Database
from workers.registration import SIGN_OF_LIFE

CHART = Path(__file__).parent.parent / "deploy" / "helm" / "foldhouse"
KUBERNETES = ("1.27", kubernetes_validate.latest_version())
# Of other projects, whose schemas are not Kubernetes' own.
FOREIGN = {"PodMonitor", "ServiceMonitor", "ScaledObject", "TriggerAuthentication"}
COMMANDS = typer.main.get_group(cli).commands
CHECKPOINT_SECONDS = 45  # that a worker may take to stop

Manifest = dict[str, Any]
VALUES: dict[str, Manifest] = {
    "default": {"secret": "foldhouse"},
    "everything": {
        "secret": "foldhouse",
        "settings": {"FOLDHOUSE_LOG_FORMAT": "json"},
        "storage": {"s3": "s3://bucket/prefix"},
        "workers": {
            "gpu": {
                "replicas": 2,
                "nodeSelector": {"gpu": "yes"},
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            }
        },
        "images": {"pullSecrets": [{"name": "registry"}]},
        "ingress": {
            "enabled": True,
            "path": "/houses",
            "tlsSecret": "tls",
            "trustedProxies": "10.244.0.0/16",
        },
        "monitoring": {"enabled": True},
        "keda": {"enabled": True},
    },
}


def render(values: Manifest) -> list[Manifest]:
    texts = Chart.load(CHART).render(values, name="fh", namespace="houses")
    found = [
        document
        for name, text in texts.items()
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]
    assert found
    return found


@pytest.fixture(params=VALUES)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return render(VALUES[request.param])


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    [found] = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return found


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Specifications of pods, by the name of what starts them."""
    return {
        m["metadata"]["name"]: m["spec"]["template"]["spec"]
        for m in manifests
        if m["kind"] in ("Deployment", "Job")
    }


def settings_of(pod: Manifest) -> dict[str, str]:
    [container] = pod["containers"]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


@pytest.mark.parametrize("version", KUBERNETES)
def test_it_is_valid(manifests: list[Manifest], version: str) -> None:
    for manifest in manifests:
        if manifest["kind"] not in FOREIGN:
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_helm_finds_no_fault(values: Manifest) -> None:
    report = lint(CHART, values, strict=True)
    assert report["errors"] == []
    assert [m for m in report["messages"] if m["severity"] > 1] == []


def test_it_says_what_is_missing() -> None:
    with pytest.raises(HelmError, match="name a Secret that has FOLDHOUSE_DATABASE_URL"):
        render({})


def test_commands_and_settings_exist(manifests: list[Manifest]) -> None:
    for name, pod in pods(manifests).items():
        [container] = pod["containers"]
        program, command, *arguments = container["command"]
        assert program == "foldhouse"
        COMMANDS[command].make_context(command, list(arguments))
        given = {
            variable.removeprefix("FOLDHOUSE_").lower(): value.replace("$(POD_IP)", "10.0.0.9")
            for variable, value in settings_of(pod).items()
            if variable.startswith("FOLDHOUSE_")
        }
        assert set(given) <= set(Settings.model_fields), name
        settings = Settings.model_validate(given)
        folders = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert str(settings.data_dir) in folders
        assert "/tmp" in folders
        if command != "migrate" and not settings.storage_url.startswith("s3://"):
            assert settings.storage_url in folders
        assert {mount["name"] for mount in container["volumeMounts"]} == {
            volume["name"] for volume in pod["volumes"]
        }


def test_pods_may_do_no_more_than_they_need(manifests: list[Manifest]) -> None:
    for pod in pods(manifests).values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001  # of the Dockerfile
        [container] = pod["containers"]
        own = container["securityContext"]
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert own["readOnlyRootFilesystem"] is True
        assert own["allowPrivilegeEscalation"] is False
        assert container["resources"]["limits"]["memory"]


def test_selectors_find_their_pods(manifests: list[Manifest]) -> None:
    labels = [
        m["spec"]["template"]["metadata"]["labels"] for m in manifests if m["kind"] == "Deployment"
    ]
    for manifest in manifests:
        selector = manifest["spec"].get("selector", manifest["spec"].get("podSelector"))
        if manifest["kind"] in FOREIGN or selector is None:
            continue
        wanted = selector if manifest["kind"] == "Service" else selector["matchLabels"]
        found = [each for each in labels if wanted.items() <= each.items()]
        assert len(found) == 1 or manifest["metadata"]["name"] == "fh", manifest["metadata"]


def test_probes_ask_what_is_answered(tmp_path: Path) -> None:
    found = pods(render(VALUES["everything"]))
    [api] = found["fh-api"]["containers"]
    paths = create_app(Settings(data_dir=tmp_path)).openapi()["paths"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = api[probe]["httpGet"]
        assert asked["path"] in paths
        # The address of a pod is a host that the service does not know.
        assert asked["httpHeaders"] == [{"name": "Host", "value": "localhost"}]
    for name in ("fh-worker-cpu", "fh-worker-gpu"):
        [worker] = found[name]["containers"]
        assert f"/tmp/{SIGN_OF_LIFE.name} " in worker["livenessProbe"]["exec"]["command"][-1]
        assert found[name]["terminationGracePeriodSeconds"] > CHECKPOINT_SECONDS


def test_an_api_that_anyone_reaches_has_keys() -> None:
    inside = settings_of(pods(render(VALUES["default"]))["fh-api"])
    assert inside["FOLDHOUSE_TRUSTED_NETWORK"] == "true"
    everything = render(VALUES["everything"])
    outside = settings_of(pods(everything)["fh-api"])
    assert "FOLDHOUSE_TRUSTED_NETWORK" not in outside
    assert outside["FOLDHOUSE_ROOT_PATH"] == "/houses"
    assert outside["FOLDHOUSE_ALLOWED_HOSTS"] == "$(POD_IP),fh-api,houses.example"
    assert outside["FOLDHOUSE_TRUSTED_PROXIES"] == "10.244.0.0/16"
    backend = named(everything, "Ingress", "fh")["spec"]["rules"][0]["http"]["paths"][0]["backend"]
    service = named(everything, "Service", backend["service"]["name"])
    assert backend["service"]["port"]["name"] in [p["name"] for p in service["spec"]["ports"]]


def test_workers_follow_the_jobs(migrated_postgres_url: str) -> None:
    everything = render(VALUES["everything"])
    scaled = named(everything, "ScaledObject", "fh-worker-cpu")
    target = scaled["spec"]["scaleTargetRef"]["name"]
    assert "replicas" not in named(everything, "Deployment", target)["spec"]
    assert named(everything, "Deployment", "fh-worker-gpu")["spec"]["replicas"] == 2
    database = Database(migrated_postgres_url)
    with database.reading() as session:
        query = scaled["spec"]["triggers"][0]["metadata"]["query"]
        assert session.scalar(text(query)) == 0
    database.close()


def test_prometheus_finds_the_ports_that_answer() -> None:
    everything = render(VALUES["everything"])
    [monitored] = named(everything, "ServiceMonitor", "fh-api")["spec"]["endpoints"]
    assert (monitored["port"], monitored["path"]) == ("http", "/metrics")
    [workers] = named(everything, "PodMonitor", "fh-workers")["spec"]["podMetricsEndpoints"]
    pod = pods(everything)["fh-worker-cpu"]
    [port] = pod["containers"][0]["ports"]
    assert port["name"] == workers["port"]
    assert settings_of(pod)["FOLDHOUSE_WORKER_METRICS_PORT"] == str(port["containerPort"])
    policy = named(everything, "NetworkPolicy", "fh")["spec"]
    assert [rule["ports"] for rule in policy["ingress"]] == [
        [{"port": port["name"], "protocol": "TCP"}]
    ]
    quiet = pods(render(VALUES["default"]))["fh-worker-cpu"]["containers"][0]
    assert "ports" not in quiet


def test_a_claim_is_kept_and_not_made_where_files_are_elsewhere() -> None:
    claim = named(render(VALUES["default"]), "PersistentVolumeClaim", "fh-files")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    others = (VALUES["everything"], {"secret": "s", "storage": {"existingClaim": "mine"}})
    for values in others:
        assert "PersistentVolumeClaim" not in {m["kind"] for m in render(values)}
    pod = pods(render(others[1]))["fh-worker-cpu"]
    assert {"name": "files", "persistentVolumeClaim": {"claimName": "mine"}} in pod["volumes"]
