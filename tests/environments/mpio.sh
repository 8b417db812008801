#!/usr/bin/env bash
# Makes .venv-mpio: parnwb with an h5py that is built against Debian's parallel HDF5, and Debian's Open MPI.
source "$(dirname "$0")/common.sh"

make_venv .venv-mpio
wheel=$(tests/environments/h5py_mpi.sh)
hash=$(fingerprint "$wheel")
is_current .venv-mpio test "$hash" && exit 0

echo "Installing parnwb[convert,inspect,test] and $(basename "$wheel") into .venv-mpio"
quietly .venv-mpio/bin/pip install --quiet --force-reinstall --no-deps "$wheel"
quietly .venv-mpio/bin/pip install --quiet --only-binary :all: --constraint <(echo "h5py==$h5py_version") \
    --editable ".[convert,inspect,test]" || fail "pip could not install parnwb: see what it says above"

# An mpiexec beside python, as the mpich wheel has it: whoever takes the one beside python has the right one.
# Open MPI, called by an absolute path, would look for its helpers beside it: hence no symbolic link.
printf '#!/bin/sh\nexec mpiexec.openmpi "$@"\n' > .venv-mpio/bin/mpiexec
chmod +x .venv-mpio/bin/mpiexec

.venv-mpio/bin/python tests/environments/check_mpio.py
mark_current .venv-mpio test "$hash"
