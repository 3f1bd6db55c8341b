#!/bin/sh
# All tests, from nothing: sets up what is missing and runs tox, with the arguments given.
set -eu
here=$(dirname "$0")
. "$here/../examples/setup.sh"
cd "$here/.."
# deploy_node is tested against a real OpenSSH server.
[ -x /usr/sbin/sshd ] && command -v ssh-keygen >/dev/null || need openssh-server openssh-client
# Machines are real, and are logged in to.
# shellcheck disable=SC2086 # several words
have_machines || need $MACHINES
virtual_environment .venv/tests
.venv/tests/bin/pip --quiet --disable-pip-version-check install 'tox>=4.11'
if command -v pyenv >/dev/null; then
    # Let tox find every Python that pyenv has.
    for folder in "$(pyenv root)"/versions/*/bin; do
        PATH="$PATH:$folder"
    done
fi
exec .venv/tests/bin/tox run "$@"
