#!/bin/sh
# The tests, from nothing: sets up what is missing and runs tox.
#   sh tests/run.sh            style, types, and one Python, and real machines: some minutes
#   sh tests/run.sh all        on every Python that there is, and what is long: what .ci/run does
#   sh tests/run.sh -e py311 -- tests/configuration/test_config.py     what is given to `tox run`
set -eu
here=$(dirname "$0")
. "$here/../examples/setup.sh"
cd "$here/.."
# deploy_node is tested against real SSH servers, which take the tests' folders for home.
[ -x /usr/sbin/sshd ] && [ -x /usr/sbin/dropbear ] && command -v ssh-keygen >/dev/null &&
    ls /usr/lib/*/libnss_wrapper.so >/dev/null 2>&1 ||
    need openssh-server openssh-client dropbear-bin libnss-wrapper
# The documentation shows how to ask a site with it.
command -v curl >/dev/null || need curl
# What others make of our signatures.
command -v xmlsec1 >/dev/null || need xmlsec1
# Pages are looked at in a browser.
command -v chromium >/dev/null && command -v chromedriver >/dev/null ||
    need chromium chromium-driver
# Machines are real, and are logged in to.
# shellcheck disable=SC2086 # several words
have_machines || need $MACHINES
virtual_environment .venv/tests
.venv/tests/bin/pip --quiet --disable-pip-version-check install 'tox>=4.67' 'tox-uv>=1.37'
if command -v pyenv >/dev/null; then
    # Let tox find every Python that pyenv has.
    for folder in "$(pyenv root)"/versions/*/bin; do
        PATH="$PATH:$folder"
    done
fi
# Side by side: nearly all tests wait nearly all of the time.
case "${1-}" in
"") set -- run-parallel --parallel all --parallel-no-spinner -e real,py,lint ;;
all)
    shift
    export QUICK_PROCESSES=0 LONG_PROCESSES=2
    # The distribution's own Python, which is tried as `distribution`, stands for its version.
    own=$(/usr/bin/python3 -c 'import sys; print("py%d%d" % sys.version_info[:2])' 2>&1) ||
        own=none
    # Tests end by themselves when they hang; should tox do so, it says where, and ends.
    set -- run-parallel --skip-env "^$own\$" --parallel 6 --parallel-no-spinner \
        --exit-and-dump-after 4800 "$@"
    ;;
*) set -- run "$@" ;;
esac
exec .venv/tests/bin/tox "$@"
