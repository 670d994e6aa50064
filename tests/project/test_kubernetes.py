"""The manifests under deploy/kubernetes/: they parse, their references hold, and they fit the server and its image."""

import re
from collections.abc import Iterator

import pytest

from manifests import APART, FILES, FOLDER, KUSTOMIZATIONS, ROOT, Manifest, manifest, served

LABEL = {"app.kubernetes.io/name": "bertwire"}
# Labels that the Prometheus Operator adds to the metrics of a pod.
SCRAPED = {"namespace", "pod", "job"}


def pod_specs() -> Iterator[tuple[str, Manifest]]:
    """Each place that describes containers, and what it says of the pod."""
    yield "deployment", manifest("Deployment")["spec"]["template"]["spec"]
    yield "loader", manifest("Pod")["spec"]
    yield "kserve", manifest("ServingRuntime")["spec"]
    yield (
        "bundle-image",
        FILES[FOLDER / "components" / "bundle-image" / "deployment.yaml"][0]["spec"]["template"]["spec"],
    )


PODS = dict(pod_specs())


def test_every_file_is_used() -> None:
    """A kustomization names what is there, and nothing lies beside it unnamed."""
    named = set(KUSTOMIZATIONS) | APART
    for path, each in KUSTOMIZATIONS.items():
        names = [*each.get("resources", []), *each.get("components", [])]
        names += [patch["path"] for patch in each.get("patches", []) if "path" in patch]
        for name in names:
            target = (path.parent / name).resolve()
            assert target.exists(), f"{path}: {name}"
            named.add(target / "kustomization.yaml" if target.is_dir() else target)
    assert named == set(FILES)


@pytest.mark.parametrize("name", PODS)
def test_pods_are_restricted(name: str) -> None:
    """No pod runs as root, writes to its root file system, or keeps a capability; each bounds its memory."""
    pod = PODS[name]
    for container in pod.get("containers", []) + pod.get("initContainers", []):
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["readOnlyRootFilesystem"] is True
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        if name != "bundle-image":  # a patch of the deployment, whose pod says the rest
            both = pod.get("securityContext", {}) | own
            assert both["runAsNonRoot"] is True
            assert both["seccompProfile"] == {"type": "RuntimeDefault"}
            assert f"--uid {both['runAsUser']} " in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", ["deployment", "kserve"])
def test_servers_fit_their_options(name: str) -> None:
    """Arguments are options of the server, ports and probes are where it listens, and the grace covers its shutdown."""
    (container,) = PODS[name]["containers"]
    config = served(container["args"])
    assert len(config.model_fields_set) == len(container["args"])
    ports = {each["containerPort"] for each in container["ports"]}
    assert ports | {config.metrics_port} == {config.port, config.metrics_port}
    assert config.metrics_host == "0.0.0.0"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"] == {"port": config.port}
    # A shutdown has ended before the kubelet kills, and a pod is out of the Service before it refuses calls.
    predictor = manifest("InferenceService")["spec"]["predictor"]
    grace = (predictor if name == "kserve" else PODS[name])["terminationGracePeriodSeconds"]
    assert grace >= config.shutdown_delay_seconds + config.drain_seconds + 10
    readiness = container["readinessProbe"]
    assert readiness["periodSeconds"] * readiness["failureThreshold"] < config.shutdown_delay_seconds


def test_references_hold() -> None:
    """Selectors match the pods' labels, and ports, claims, accounts and targets are those of other manifests."""
    deployment, service = manifest("Deployment"), manifest("Service")
    template, pod = deployment["spec"]["template"], PODS["deployment"]
    assert template["metadata"]["labels"] == deployment["spec"]["selector"]["matchLabels"] == LABEL
    assert service["spec"]["selector"] == service["metadata"]["labels"] == LABEL
    assert service["spec"]["clusterIP"] == "None"
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == LABEL
    assert pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"] == LABEL
    policy, monitor = manifest("NetworkPolicy")["spec"], manifest("ServiceMonitor")["spec"]
    assert policy["podSelector"]["matchLabels"] == monitor["selector"]["matchLabels"] == LABEL
    ports = {each["name"]: each["containerPort"] for each in pod["containers"][0]["ports"]}
    assert {each["targetPort"]: each["port"] for each in service["spec"]["ports"]} == ports
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == set(ports)
    assert [each["port"] for each in monitor["endpoints"]] == ["metrics"]
    assert pod["serviceAccountName"] == manifest("ServiceAccount")["metadata"]["name"]
    claim = manifest("PersistentVolumeClaim")["metadata"]["name"]
    for name in ("deployment", "loader"):
        assert [each["persistentVolumeClaim"]["claimName"] for each in PODS[name]["volumes"]] == [claim]
    model = manifest("InferenceService")["spec"]["predictor"]["model"]
    assert model["storageUri"] == f"pvc://{claim}/models"
    runtime = manifest("ServingRuntime")
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    assert model["modelFormat"]["name"] == runtime["spec"]["supportedModelFormats"][0]["name"]
    for scaler in ("HorizontalPodAutoscaler", "ScaledObject"):
        assert manifest(scaler)["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]


def test_scaling_reads_what_exists(exposed: dict[str, set[str]]) -> None:
    """Metrics and labels of the adapter's rules and KEDA's queries are the server's; both scale by the same."""
    values = FILES[FOLDER / "components" / "autoscale-hpa" / "adapter-values.yaml"][0]
    rules = values["rules"]["custom"]
    metrics = manifest("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert [each["pods"]["metric"]["name"] for each in metrics] == [rule["name"]["as"] for rule in rules]
    triggers = [each["metadata"] for each in manifest("ScaledObject")["spec"]["triggers"]]
    for query in [*(rule["seriesQuery"] for rule in rules), *(each["query"] for each in triggers)]:
        (metric, selector) = re.findall(r"\b(bertwire_\w+)\{([^}]*)\}", query)[0]
        assert re.findall(r"\bbertwire_\w+", query) == [metric]
        assert metric in exposed
        assert set(re.findall(r"(\w+)(?:=|!=)", selector)) <= exposed[metric] | SCRAPED
    for rule in rules:
        assert re.search(rule["name"]["matches"], rule["seriesQuery"].partition("{")[0])
    namespaces = {name for each in triggers for name in re.findall(r'namespace="(\w+)"', each["query"])}
    assert namespaces == {each["namespace"] for each in KUSTOMIZATIONS.values() if "namespace" in each}
    targets = [float(each["pods"]["target"]["averageValue"].removesuffix("m")) / 1000 for each in metrics]
    assert targets == [float(each["threshold"]) for each in triggers]
