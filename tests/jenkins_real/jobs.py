"""XML of the jobs that the tests create."""

from __future__ import annotations

from xml.sax.saxutils import escape

PARAMETERS = "hudson.model.ParametersDefinitionProperty"


def pipeline(script: str, *text_parameters: str) -> str:
    """A pipeline job in the sandbox, as a person without approvals writes it; its parameters are all of kind text."""
    definitions = "".join(
        f"<hudson.model.TextParameterDefinition><name>{name}</name></hudson.model.TextParameterDefinition>"
        for name in text_parameters
    )
    properties = f"<{PARAMETERS}><parameterDefinitions>{definitions}</parameterDefinitions></{PARAMETERS}>"
    return (
        "<?xml version='1.1' encoding='UTF-8'?><flow-definition>"
        f"<properties>{properties if text_parameters else ''}</properties>"
        '<definition class="org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition">'
        f"<script>{escape(script)}</script><sandbox>true</sandbox></definition></flow-definition>"
    )


def multibranch(url: str) -> str:
    """A multibranch project of a git repository; it looks for branches when it is told to."""
    branches = "jenkins.plugins.git.traits.BranchDiscoveryTrait"
    project = "org.jenkinsci.plugins.workflow.multibranch.WorkflowMultiBranchProject"
    return (
        f"<?xml version='1.1' encoding='UTF-8'?><{project}>"
        '<sources class="jenkins.branch.MultiBranchProject$BranchSourceList"><data><jenkins.branch.BranchSource>'
        f'<source class="jenkins.plugins.git.GitSCMSource"><id>it</id><remote>{escape(url)}</remote>'
        f"<traits><{branches}/></traits></source></jenkins.branch.BranchSource></data>"
        f'<owner class="{project}" reference="../.."/></sources>'
        '<factory class="org.jenkinsci.plugins.workflow.multibranch.WorkflowBranchProjectFactory">'
        f'<owner class="{project}" reference="../.."/><scriptPath>Jenkinsfile</scriptPath></factory></{project}>'
    )


def freestyle(node: str, builders: str, publishers: str = "") -> str:
    """A freestyle project that runs on a node."""
    return (
        f"<?xml version='1.1' encoding='UTF-8'?><project><assignedNode>{node}</assignedNode><canRoam>false</canRoam>"
        f"<builders>{builders}</builders><publishers>{publishers}</publishers></project>"
    )
