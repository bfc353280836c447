#!/bin/sh
# Runs one kernelRun step: finds the command kernel-gateway, or a Python that installs it, and becomes it, so that the
# signals and the exit code of the step are the command's. KERNEL_GATEWAY_REQUEST names the step's folder; nothing that a
# user wrote stands on a command line here.
#
# No `set -x`: what runs is not worth showing, and Jenkins' own is off because the first line names the shell.

# Some versions of Jenkins put variables in where a value has $NAME, and take $$ for a $; others leave both as they are. So a
# path comes with its dollar signs doubled, and may still have them.
plain() {
    if [ -e "$1" ]; then printf '%s' "$1"; else printf '%s' "$1" | sed 's/\$\$/$/g'; fi
}

request=$KERNEL_GATEWAY_REQUEST
case $request in *'$$'*) request=$(plain "$request") ;; esac
case ${KERNEL_GATEWAY_CLIENT-} in *'$$'*) KERNEL_GATEWAY_CLIENT=$(plain "$KERNEL_GATEWAY_CLIENT") ;; esac

fail() {
    echo "kernelRun: $*" >&2
    exit 127
}

if [ -n "${KERNEL_GATEWAY_CLIENT-}" ]; then
    command -v "$KERNEL_GATEWAY_CLIENT" >/dev/null 2>&1 \
        || fail "there is no command $KERNEL_GATEWAY_CLIENT on this agent; it stands in client: or KERNEL_GATEWAY_CLIENT."
    exec "$KERNEL_GATEWAY_CLIENT" run --options "$request/request.json"
fi

found=
for python in python3 python3.14 python3.13 python3.12 python3.11; do
    command -v "$python" >/dev/null 2>&1 || continue
    found=$python
    # -I: the build's PYTHONPATH and workspace are for its notebooks.
    "$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
        && exec "$python" -I "$request/bootstrap.py" "$request"
done
[ -z "$found" ] || fail "the kernel gateway needs Python 3.11 or later, and this agent has $("$found" --version 2>&1)." \
    "Install one, or name an agent that has it by the agent's label."
command -v kernel-gateway >/dev/null 2>&1 && exec kernel-gateway run --options "$request/request.json"
fail "there is no python3 on this agent. Install Python 3.11 or later (Debian: apt install python3 python3-venv)," \
    "or put the command kernel-gateway on the agent's PATH."
