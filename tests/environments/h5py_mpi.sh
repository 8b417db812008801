#!/usr/bin/env bash
# Prints the path of an h5py wheel that is built against Debian's parallel HDF5 and Open MPI. It is built once,
# in 3 to 4 minutes, and kept in the user's cache under a name that says what it was built for.
source "$(dirname "$0")/common.sh"

hdf5=/usr/lib/$(gcc -print-multiarch)/hdf5/openmpi
hdf5_version=$(sed -n 's/.*H5_VERS_INFO.*version: \([^"]*\)".*/\1/p' "$hdf5/include/H5public.h")
mpi_version=$(mpicc.openmpi --showme:version | sed 's/.*Open MPI \([^ ]*\).*/\1/')
python_abi=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))')
key=h5py-$h5py_version-$python_abi-hdf5-$hdf5_version-openmpi-$mpi_version
cache=${XDG_CACHE_HOME:-$HOME/.cache}/parnwb/wheels/$key

if ! compgen -G "$cache/*.whl" > /dev/null; then
    echo "Building $key: takes 3 to 4 minutes, once" >&2
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    "$python" -m venv "$work/venv"
    # Without build isolation: in an isolated build pip would compile mpi4py too, for longer than anyone waits.
    # Its wheel brings the headers that h5py needs.
    "$work/venv/bin/pip" install --quiet --only-binary :all: \
        'setuptools>=77' wheel 'Cython>=3.0.13,<3.4' 'numpy>=2' pkgconfig 'mpi4py>=4' >&2
    # Without pip's cache: it does not know the variables below, and would serve a build for another MPI.
    CC=mpicc.openmpi HDF5_MPI=ON HDF5_DIR=$hdf5 H5PY_SETUP_REQUIRES=0 "$work/venv/bin/pip" wheel \
        --no-cache-dir --no-binary h5py --no-deps --no-build-isolation \
        --wheel-dir "$work/wheels" "h5py==$h5py_version" &> "$work/log" ||
        { tail -n 40 "$work/log" >&2; fail "h5py $h5py_version could not be built: see above"; }
    mkdir -p "$(dirname "$cache")"
    rm -rf "$cache"
    mv "$work/wheels" "$cache"
fi
echo "$cache"/*.whl
