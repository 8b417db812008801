#!/usr/bin/env bash
# Builds the images of docker/ and runs tests/containers in both environments. Debian's podman and charliecloud are
# installed where that is allowed; without them those tests are skipped, and say so.
source "$(dirname "$0")/common.sh"

install_optional images aardvark-dns catatonit charliecloud debootstrap iptables netavark podman podman-compose runc

# Where tests are run for all, none may be skipped because something is missing (tests/skips.py).
[[ -z ${CI:-} ]] || export PARNWB_EXPECTED_SKIPS_ONLY=1

status=0
for environment in .venv .venv-mpio; do
    PARNWB_CONTAINERS=1 PATH=$PWD/$environment/bin:$PATH "$environment/bin/python" -m pytest tests/containers \
        -o cache_dir="$environment/.pytest_cache" "$@" || status=1
done
exit $status
