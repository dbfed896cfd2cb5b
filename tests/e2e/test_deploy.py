"""What is in deploy/: every manifest is valid, every proxy.yaml in one is, and every metric that is named exists."""

import base64
import json
import pathlib
import re
import subprocess
import urllib.request

import compose_spec
import kubernetes_validate
import pytest
import yaml
from conftest import program

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
PROMETHEUS = DEPLOY / "prometheus"
# One of the oldest that clusters run, and the newest that is known here.
VERSIONS = ["1.29", "1.37"]


def manifests():
    """Every object of every file, with the file's name."""
    for file in sorted(KUBERNETES.glob("*.yaml")):
        for manifest in yaml.safe_load_all(file.read_text()):
            yield file.name, manifest


def of_kind(kind, name="tokenferry"):
    (found,) = (m for _, m in manifests() if m["kind"] == kind and m["metadata"]["name"] == name)
    return found


def pod(kind, name="tokenferry"):
    return of_kind(kind, name)["spec"]["template"]["spec"]


def configurations():
    compose = (DEPLOY / "compose" / "config" / "proxy.yaml").read_text()
    return {"compose": compose, "kubernetes": of_kind("ConfigMap")["data"]["proxy.yaml"]}


# Kubernetes' own schemas know neither kustomize nor what an operator brings.
FOREIGN = ("kustomize.config.k8s.io/v1beta1", "monitoring.coreos.com/v1")


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_manifest(version):
    taken = [m for _, m in manifests() if m["apiVersion"] not in FOREIGN]
    assert len(taken) >= 9
    for manifest in taken:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_and_would_not_take_a_field_that_it_does_not_know():
    wrong = of_kind("Deployment")
    wrong["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_kustomize_is_given_every_file_but_those_that_are_a_choice():
    listed = set(yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"])
    there = {file.name for file in KUBERNETES.glob("*.yaml")}
    assert there - listed == {"kustomization.yaml", "secret.example.yaml", "podmonitor.yaml"}
    assert listed <= there


def test_pods_have_no_more_rights_than_they_need():
    for kind, name in (("Deployment", "tokenferry"), ("StatefulSet", "tokenferry-redis")):
        spec = pod(kind, name)
        assert spec["securityContext"]["runAsNonRoot"] and spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert not any("subPath" in mount for mount in container["volumeMounts"])


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


def test_the_grace_period_is_longer_than_the_drain():
    configuration = yaml.safe_load(configurations()["kubernetes"])
    drain = seconds(configuration["drain_delay"]) + seconds(configuration["shutdown_timeout"])
    assert pod("Deployment")["terminationGracePeriodSeconds"] >= drain + 10


def test_every_secret_that_a_configuration_names_is_there():
    named = lambda text: set(re.findall(r"\$\{file:/run/secrets/(?:tokenferry/)?(\w+)\}", text))  # noqa: E731
    configured = configurations()
    assert named(configured["kubernetes"]) == set(of_kind("Secret")["stringData"])
    assert named(configured["compose"]) == set(compose()["secrets"])
    assert set(compose()["services"]["tokenferry"]["secrets"]) == set(compose()["secrets"])


def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_compose_takes_the_file_and_would_not_take_a_field_that_it_does_not_know():
    text = (DEPLOY / "compose.yaml").read_text()
    compose_spec.PyCompose.from_yaml(text)
    with pytest.raises(Exception, match="read_onli"):
        compose_spec.PyCompose.from_yaml(text.replace("read_only:", "read_onli:", 1))


def test_compose_runs_it_as_it_should_be_run():
    service = compose()["services"]["tokenferry"]
    assert service["read_only"] and service["user"] == "65532:65532" and service["cap_drop"] == ["ALL"]
    assert service["healthcheck"]["test"] == ["CMD", "/usr/local/bin/tokenferry", "healthcheck"]
    assert "./compose/config:/etc/tokenferry:ro" in service["volumes"], "the directory, not the file"
    for secret in compose()["secrets"].values():
        ignored = subprocess.run(["git", "check-ignore", "-q", secret["file"]], cwd=DEPLOY, check=False)
        assert ignored.returncode == 0, "no secret is committed by accident"


@pytest.mark.parametrize("place", configurations())
def test_every_configuration_in_a_manifest_is_valid(place, tmp_path):
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    text = configurations()[place]
    for path in set(re.findall(r"\$\{file:(/run/secrets/[^}]+)\}", text)):
        (secrets / pathlib.Path(path).name).write_text("0123456789abcdef0123456789abcdef")
        text = text.replace(path, str(secrets / pathlib.Path(path).name))
    (secrets / "store_key").write_text(base64.b64encode(bytes(32)).decode())
    for file in secrets.iterdir():
        file.chmod(0o600)
    (tmp_path / "proxy.yaml").write_text(text)
    done = subprocess.run([program(), "check", "-c", tmp_path / "proxy.yaml"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning")]
    in_the_clear = "keys and passwords come in the clear from other machines"
    assert all(in_the_clear in line for line in warnings), "TLS is for what stands in front: " + done.stderr


def promtool(*arguments):
    done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_alert_rules_are_valid_and_raised_by_what_they_should_be():
    assert "14 rules found" in promtool("check", "rules", "alerts.yaml")
    promtool("test", "rules", "alerts.test.yaml")


def alerts():
    groups = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_alert_is_tried_and_says_what_to_do():
    tried = (PROMETHEUS / "alerts.test.yaml").read_text()
    for alert in alerts():
        assert alert["alert"] in tried
        assert alert["labels"]["severity"] in ("warning", "critical")
        assert len(alert["annotations"]["description"]) > 80


def dashboard():
    return json.loads((DEPLOY / "grafana" / "tokenferry.json").read_text())


def dashboard_queries():
    told = dashboard()
    yield from (target["expr"] for panel in told["panels"] for target in panel.get("targets", []))
    yield from (variable["query"]["query"] for variable in told["templating"]["list"] if variable["type"] == "query")
    yield from (annotation["expr"] for annotation in told["annotations"]["list"])


METRIC = re.compile(r"\b(?:tokenferry|process)_[a-z_]+\b")


def named_metrics():
    queries = [*dashboard_queries(), *(alert["expr"] for alert in alerts())]
    return {name for query in queries for name in METRIC.findall(query)}


def test_the_dashboard_is_put_together_properly(tmp_path):
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    # PromQL is read by promtool, once Grafana's variables have a value.
    queries = [re.sub(r"\$__rate_interval", "5m", query) for query in dashboard_queries() if "label_values" not in query]
    rules = [{"record": f"query:{n}", "expr": re.sub(r"\$\w+", "x", query)} for n, query in enumerate(queries)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(tmp_path / "rules.yaml"))


def test_every_metric_of_the_dashboard_and_of_the_rules_is_there(tokenferry, partner):
    config = f"""
listeners:
  - address: 127.0.0.1:0
admin:
  address: 127.0.0.1:0
credentials:{partner.credential()}
routes:
  - name: partner
    match: {{path: /}}
    upstream: {partner.url()}
    credential: partner
"""
    proxy = tokenferry(config)
    assert urllib.request.urlopen(proxy.url("/items"), timeout=20).status == 200
    admin = proxy.lines.get(timeout=20).removeprefix("admin on ")
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=20) as answer:
        page = answer.read().decode()
    # Families say their type before they have a series; in OpenMetrics' words without the suffix.
    suffix = {"counter": "_total", "histogram": "_bucket"}
    described = re.findall(r"^# TYPE (\S+) (\w+)$", page, re.MULTILINE)
    there = {name.removesuffix(suffix.get(kind, " ")) + suffix.get(kind, "") for name, kind in described}
    assert named_metrics() - there == set()
