package org.jenkinsci.plugins.workflow.steps

/** What a pipeline step throws when its build is aborted. */
class FlowInterruptedException extends Exception {
}
