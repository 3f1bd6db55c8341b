#!/bin/sh
# A StratusLab cloud on this machine, from nothing: sets up what is missing, then narrates
# chapter 9 of the User's Guide. Leaves nothing running, and nothing but the folder .venv/demo.
set -eu
here=$(dirname "$0")
. "$here/setup.sh"
cd "$here/.."
virtual_environment .venv/demo
.venv/demo/bin/pip --quiet --disable-pip-version-check install '.[sandbox]'
exec .venv/demo/bin/stratus-sandbox demo "$@"
