"""The plugin in a real controller: its form filled in by a browser, the build it makes, the pages it adds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from tests.browser.conftest import browser  # noqa: F401  (a fixture)
from tests.jenkins_real.conftest import NAME, ROOT, Site
from tests.jenkins_real.controller import Controller
from tests.jenkins_real.face import Build, Jenkins
from tests.jenkins_real.jobs import freestyle, pipeline
from tests.jenkins_real.test_pages import has_default_policy, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CODE = "accuracy = float(0.9)\nprint('::metric name=accuracy value=0.93')\n"


@pytest.fixture(scope="module")
def plugin(parts: tuple[Path, Path] | Jenkins, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin, built from this checkout against the Jenkins under test."""
    if isinstance(parts, Jenkins):
        pytest.skip("the plugin is built against JENKINS_WAR")
    target = tmp_path_factory.mktemp("plugin") / "kernel-gateway.hpi"
    environ = {**os.environ, "JENKINS_WAR": str(parts[0]), "JENKINS_PLUGINS": str(parts[1])}
    command = [str(ROOT / "scripts" / "build-plugin"), str(target)]
    built = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return target


@pytest.fixture(scope="module")
def with_plugin(plugin: Path, controllers: Callable[..., Controller], sites: Callable[..., Site]) -> Site:
    """A Jenkins with the plugin and without the library: freestyle people need none."""
    controller = controllers(more=(plugin,))
    made = sites(controller.jenkins, controller)
    assert "kernel-gateway" in made.jenkins.plugins(), controller.log()[-3000:]
    return made


@pytest.fixture(scope="module")
def signed_in(with_plugin: Site, browser: Browser) -> Iterator[Page]:  # noqa: F811
    """A browser in which the administrator has signed in by password, so that crumbs count."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.goto(f"{with_plugin.jenkins.url}/login")
    page.fill("#j_username", "admin")
    page.fill("input[name=j_password]", with_plugin.jenkins.token)
    page.click("button[name=Submit]")
    page.wait_for_selector("a[href='/logout']")
    yield page
    context.close()


def test_a_gateway_is_entered_and_its_connection_tested_in_the_settings(with_plugin: Site, signed_in: Page) -> None:
    page = signed_in
    page.goto(f"{with_plugin.jenkins.url}/manage/configure")
    page.click("button:has-text('Add gateway')")
    form = page.locator("[name=gateways]").last
    form.locator("input[name='_.name']").fill("the gateway")
    form.locator("input[name='_.url']").fill(with_plugin.gateway.url)
    form.locator("select[name='_.credentialsId']").select_option(NAME)
    form.locator("button:has-text('Test connection')").click()
    page.wait_for_selector(".validation-error-area--visible .ok", timeout=30_000)
    page.click("button[name=Submit]")
    page.wait_for_url(lambda url: "configure" not in url)

    kept = with_plugin.jenkins.script(
        "println ExtensionList.lookupSingleton(Jenkins.get().pluginManager.uberClassLoader.loadClass("
        "'org.kernelgateway.jenkins.KernelGatewayConfiguration')).gateways*.url"
    )
    assert with_plugin.gateway.url in kept


def test_the_form_of_a_freestyle_project_runs_code_on_a_kernel(with_plugin: Site, signed_in: Page) -> None:
    jenkins, page = with_plugin.jenkins, signed_in
    jenkins.create(f"{NAME}-form", freestyle(NAME, ""))
    page.goto(f"{jenkins.url}/job/{NAME}-form/configure")
    page.click("button:has-text('Add build step')")
    page.click("button:has-text('Run on a kernel'), a:has-text('Run on a kernel')")
    step = page.locator("[name=builder]").last
    step.locator("label:has-text('Code')").first.click()
    step.locator("textarea[name='_.code']").fill(CODE)
    step.locator("textarea[name='_.require']").fill("accuracy >= 0.9")
    step.locator("input[name='_.gateway']").fill(with_plugin.gateway.url)
    step.locator("select[name='_.credentialsId']").select_option(NAME)
    page.click("button[name=Submit]")
    page.wait_for_url(f"{jenkins.url}/job/{NAME}-form/")

    for value in ("0.93", "0.95"):
        build = jenkins.build(f"{NAME}-form")
        assert build.wait() == "SUCCESS", build.log()
        config = jenkins.ask("GET", f"/job/{NAME}-form/config.xml").text
        jenkins.ask(
            "POST", f"/job/{NAME}-form/config.xml", data=config.replace(f"value={value}", "value=0.95").encode()
        )
    assert "::metric name=accuracy value=0.95" in build.log()
    (run,) = jenkins.json(f"{build.path}/kernel-run", depth="2")["runs"]
    assert run["status"] == "succeeded"
    assert run["metrics"]["accuracy"] == 0.95


def test_the_project_shows_its_metrics_over_builds(
    with_plugin: Site,
    browser: Browser,  # noqa: F811
) -> None:
    jenkins = with_plugin.jenkins
    (series,) = jenkins.json(f"/job/{NAME}-form/kernel-metrics", depth="3")["series"]
    assert [point["value"] for point in series["points"]] == [0.93, 0.95]

    with watched(with_plugin, browser, f"{jenkins.url}/job/{NAME}-form/kernel-metrics/") as (page, complaints):
        assert page.locator("svg a, svg circle, svg title").count() >= 2
        assert "accuracy" in page.inner_text("#main-panel")
        assert complaints == []


def test_the_builds_page_leads_to_the_runs_report_under_jenkins_own_policy(
    with_plugin: Site,
    browser: Browser,  # noqa: F811
) -> None:
    build = Build(with_plugin.jenkins, f"{NAME}-form", 2)
    with watched(with_plugin, browser, f"{build.url}/kernel-run/") as (page, complaints):
        assert "accuracy" in page.inner_text("#main-panel")
        assert complaints == []
        with page.expect_response(lambda response: "report/index.html" in response.url) as report:
            page.locator("a[href*='report/index.html']").first.click()
        assert report.value.status == 200
        assert has_default_policy(report.value.headers["content-security-policy"])
        page.wait_for_selector("text=accuracy")


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("KernelRunStep", freestyle(NAME, "")),
        ("GatewayFolderProperty", "<com.cloudbees.hudson.plugins.folder.Folder/>"),
    ],
    ids=["step", "folder"],
)
def test_the_forms_of_steps_and_folders_offer_gateways_and_tokens(with_plugin: Site, kind: str, config: str) -> None:
    jenkins, name = with_plugin.jenkins, f"{NAME}-{kind}"
    jenkins.create(name, config)
    form = f"/job/{name}/descriptorByName/org.kernelgateway.jenkins.{kind}"

    assert "none" in jenkins.ask("POST", f"{form}/fillGatewayItems").text
    assert NAME in jenkins.ask("POST", f"{form}/fillCredentialsIdItems", data={"credentialsId": ""}).text
    refused = jenkins.ask("POST", f"{form}/checkGateway", data={"value": "nowhere"}).text
    assert "There is no kernel gateway" in refused
    assert jenkins.session.get(f"{jenkins.url}{form}/fillGatewayItems", timeout=30).status_code in {404, 405}
    nobody = requests.post(f"{jenkins.url}{form}/fillGatewayItems", timeout=30)
    assert nobody.status_code == 403


def test_a_build_that_a_trigger_starts_has_the_triggers_reason_among_its_causes(with_plugin: Site) -> None:
    jenkins = with_plugin.jenkins
    script = pipeline("echo 'here'", "TRIGGER_ID", "REASON")
    causes = []
    for id in ("20261121-120000-1", ""):
        build = jenkins.run(f"{NAME}-cause", script, TRIGGER_ID=id, REASON="psi 0.31 > 0.2\r\n<b>of</b> age")
        assert build.wait() == "SUCCESS", build.log()
        found = build.info("actions[causes[shortDescription]]")["actions"]
        causes.append([cause["shortDescription"] for action in found for cause in action.get("causes", [])])

    told = "Started by a trigger of the kernel gateway: psi 0.31 > 0.2 <b>of</b> age"
    assert causes == [["Started by user admin", told], ["Started by user admin"]]


def test_branches_that_use_the_plugins_step_at_once_have_folders_of_their_own(with_plugin: Site) -> None:
    step = f"kernelRun {with_plugin.where}, name: 'part', code: 'import time\\ntime.sleep(1)'"
    build = with_plugin.jenkins.run(
        f"{NAME}-branches", pipeline(f"node('{NAME}') {{ parallel(a: {{ {step} }}, b: {{ {step} }}) }}")
    )

    assert build.wait() == "SUCCESS", build.log()
    assert {path.split("/")[1] for path in build.artifacts()} == {"part", "part-2"}


@pytest.mark.parametrize(
    ("argument", "words"),
    [("kernal: 'python3'", "there is no argument 'kernal'"), ("onGate: 'fail'", "it must be 'unstable' or 'failure'")],
    ids=["unknown", "of another value"],
)
def test_a_wrong_argument_of_the_plugins_step_ends_the_build(with_plugin: Site, argument: str, words: str) -> None:
    script = f"node('{NAME}') {{ kernelRun {with_plugin.where}, code: '1', {argument} }}"
    build = with_plugin.jenkins.run(f"{NAME}-wrong", pipeline(script))

    build.wait_for(words)
    assert build.wait() == "FAILURE"
    assert with_plugin.runs(build) == []
