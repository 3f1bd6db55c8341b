#!/bin/sh
# A StratusLab cloud on this machine, from nothing: sets up what is missing, then narrates
# chapter 9 of the User's Guide, with real machines wherever they can be had. Leaves nothing
# running, and nothing but the folder .venv/demo and the machines' images in ~/.cache.
set -eu
here=$(dirname "$0")
. "$here/setup.sh"
cd "$here/.."
# shellcheck disable=SC2086 # several words
have_machines || (need $MACHINES) || echo "The demo goes on, with simulated machines." >&2
virtual_environment .venv/demo
# What an earlier build left would be installed again.
rm -rf build
if ! .venv/demo/bin/pip --quiet --disable-pip-version-check install '.[sandbox]'; then
    [ -x .venv/demo/bin/stratus-sandbox ] || exit 1
    echo "It cannot be installed anew: this is how it was the last time." >&2
fi
rm -rf build stratuslab_libcloud_drivers.egg-info
exec .venv/demo/bin/stratus-sandbox demo "$@"
