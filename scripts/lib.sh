# Functions that scripts/setup reads in; POSIX sh.
# shellcheck shell=sh

say() { echo "setup: $*" >&2; }

die() { echo "setup: $*" >&2; exit 1; }

have() { command -v "$1" >/dev/null 2>&1; }

# Prints the Python to build the environment with.
find_python() {
    for candidate in ${PYTHON-} python3.11 /usr/bin/python3.11 python3.12 python3.13 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    die "no Python 3.11 or later here. Install one (Debian: apt install python3 python3-venv) or set PYTHON to its path."
}

# uv does not read pip's settings: hand over a mirror and a certificate bundle that pip is set up for, and have it trust
# what the system trusts, as pip does.
use_index_of_pip() {
    setting() { .venv/bin/python -m pip config get "$1" 2>/dev/null || true; }
    [ -n "${UV_DEFAULT_INDEX-}${UV_INDEX_URL-}" ] || UV_DEFAULT_INDEX=${PIP_INDEX_URL-$(setting global.index-url)}
    [ -z "${UV_DEFAULT_INDEX-}" ] || export UV_DEFAULT_INDEX
    [ -n "${SSL_CERT_FILE-}" ] || SSL_CERT_FILE=${PIP_CERT-$(setting global.cert)}
    if [ -n "$SSL_CERT_FILE" ]; then export SSL_CERT_FILE; else unset SSL_CERT_FILE; fi
    export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS-true}"
}

# Installs the named Debian packages; the word "java" stands for the runtime this release offers.
apt_install() {
    have apt-get || die "$* must be installed, and this machine has no apt-get: install them with its package manager."
    root=
    if [ "$(id -u)" != 0 ]; then
        have sudo && sudo -n true 2>/dev/null \
            || die "$* must be installed, which needs root. Run as root: apt-get install --no-install-recommends $*"
        root="sudo -n"
    fi
    case " $* " in *" java "*) [ -n "$(java_package)" ] || $root apt-get update -qq ;; esac
    words=
    for word in "$@"; do
        [ "$word" != java ] || word=$(java_package)
        words="$words $word"
    done
    say "installing$words"
    # shellcheck disable=SC2086 # lists of words
    set -- $root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -qq --no-install-recommends $words
    log=$(mktemp)
    "$@" >"$log" 2>&1 </dev/null || { $root apt-get update -qq && "$@" >"$log" 2>&1 </dev/null; } \
        || { tail -n 20 "$log" >&2; rm -f "$log"; die "apt-get could not install$words; its last lines stand above."; }
    rm -f "$log"
}

# Prints the newest Java package that the kernels are tested with, or nothing when apt knows none.
java_package() {
    for package in openjdk-17-jre-headless openjdk-21-jre-headless default-jre-headless; do
        case "$(apt-cache policy "$package" 2>/dev/null)" in
            *"Candidate: (none)"*) ;;
            *Candidate:*) echo "$package"; return ;;
        esac
    done
}
