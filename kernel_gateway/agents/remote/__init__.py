"""A runner on another machine: what it fetches from the gateway, and how its events get home. Knows no engine."""
