"""What kubectl makes of the kustomizations under deploy/kubernetes/, held to the schemas of Kubernetes."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from manifests import FOLDER, ROOT, served

TOOLS = ROOT / ".tools" / "bin"
OVERLAYS = sorted((FOLDER / "overlays").iterdir())
KUBECTL = shutil.which("kubectl") or ""
pytestmark = pytest.mark.skipif(not KUBECTL, reason="needs kubectl, which renders without a cluster")


def rendered(folder: Path) -> str:
    """What kubectl makes of a kustomization."""
    return subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kustomization of the base with all components that go together."""
    folder = tmp_path_factory.mktemp("everything").resolve()
    place = os.path.relpath(FOLDER, folder)
    names = ["access", "bundle-image", "gpu", "monitoring", "autoscale-hpa"]
    components = [f"{place}/components/{name}" for name in names]
    content = {"resources": [f"{place}/base"], "components": components, "namespace": "bertwire"}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.parametrize(
    "name", ["base", "kserve", "overlays/gpu", "overlays/autoscale-hpa", "overlays/autoscale-keda"]
)
def test_kustomizations_render(name: str, tmp_path: Path) -> None:
    """Each renders, and Kubernetes' schemas have every field of it."""
    check_schemas(rendered(FOLDER / name), tmp_path)


def test_components_go_together(everything: Path, tmp_path: Path) -> None:
    """With all components the server has their options, its files are mounted, and TLS is probed by our own probe."""
    text = rendered(everything)
    check_schemas(text, tmp_path)
    documents = {each["kind"]: each for each in yaml.safe_load_all(text)}
    assert "PersistentVolumeClaim" not in documents
    assert "replicas" not in documents["Deployment"]["spec"]
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    config = served(container["args"])
    assert config.provider == "cuda"
    assert container["image"].endswith("-gpu")
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    mounts = {Path(each["mountPath"]) for each in container["volumeMounts"]}
    for file in (config.bundle / "any", config.tls_certificate, config.tls_key, config.api_keys):
        assert file is not None
        assert file.parent in mounts
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        command = ["python", "-m", "bertwire_server.probe", f"127.0.0.1:{config.port}"]
        assert container[probe]["exec"]["command"] == command
        assert "grpc" not in container[probe]
    volumes = {each["name"]: set(each) for each in pod["volumes"]}
    assert volumes == {"models": {"name", "emptyDir"}, "tls": {"name", "secret"}, "keys": {"name", "secret"}}


def check_schemas(text: str, folder: Path) -> None:
    """Hold Kubernetes' own kinds to its schemas, where their environment is there."""
    if not (TOOLS / "kubernetes-validate").is_file():
        pytest.skip("rendered; for the schemas of Kubernetes: make tools")
    # Not those of KServe, KEDA and the Prometheus Operator.
    own = [each for each in yaml.safe_load_all(text) if re.match(r"[^.]+(\.k8s\.io)?(/|$)", each["apiVersion"])]
    (folder / "manifests.yaml").write_text(yaml.safe_dump_all(own))
    command = [str(TOOLS / "kubernetes-validate"), "--strict", str(folder / "manifests.yaml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    # A kind or a version that has no schema is a warning for it.
    assert result.stdout.count(" passed for resource ") == len(own), result.stdout + result.stderr
