# Shell functions for demo.sh and tests/run.sh: what is missing on a Debian or Ubuntu machine.

# What real machines run on. The small Linux in them is made of further Debian packages, which are
# not installed here, but looked up in apt's lists.
MACHINES="qemu-system-x86 qemu-utils e2fsprogs"

# have_machines: whether all of that is there.
have_machines() {
    (
        PATH="$PATH:/usr/sbin:/sbin"
        command -v qemu-system-x86_64 && command -v qemu-img && command -v mke2fs &&
            apt-cache show busybox-static
    ) >/dev/null 2>&1
}

# need PACKAGE...: install Debian packages, as root or with sudo.
need() {
    if ! command -v apt-get >/dev/null; then
        echo "Please install what Debian calls: $*" >&2
        exit 1
    fi
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        as_root=sudo
        if ! command -v sudo >/dev/null || [ ! -t 0 ]; then
            echo "Please run, as root: apt-get update && apt-get install -y $*" >&2
            exit 1
        fi
    fi
    echo "+ $as_root apt-get update && $as_root apt-get install -y --no-install-recommends $*"
    $as_root apt-get -qq update
    DEBIAN_FRONTEND=noninteractive $as_root apt-get -qq install -y --no-install-recommends "$@"
}

# find_python: set $python to one that is new enough.
find_python() {
    command -v python3 >/dev/null || need python3
    for python in python3 python3.13 python3.12 python3.11 python3.10; do
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && return
    done
    echo "Python 3.10 or newer is needed; this is $(python3 --version)" >&2
    exit 1
}

# virtual_environment DIR: make one, or leave a working one as it is.
virtual_environment() {
    "$1/bin/python" -c 'import pip' 2>/dev/null && return
    find_python
    echo "Setting up $1, which may take a minute ..."
    "$python" -c 'import ensurepip' 2>/dev/null || need python3-venv
    "$python" -m venv --clear "$1"
}
