"""Where runners are started: this machine's agent, the dispatcher that feeds it, and the runner process itself."""
