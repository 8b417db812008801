# Copyright Spack Project Developers. See COPYRIGHT file for details.
#
# SPDX-License-Identifier: (Apache-2.0 OR MIT)

from spack_repo.builtin.build_systems.python import PythonPackage

from spack.package import *


class PyParnwb(PythonPackage):
    """Write one ordinary NWB file from many MPI ranks."""

    pypi = "parnwb/parnwb-0.1.0.tar.gz"

    license("BSD-3-Clause")

    # of the sdist, when there is one: sha256sum dist/parnwb-*.tar.gz
    version("0.1.0", sha256="0000000000000000000000000000000000000000000000000000000000000000")

    variant("mpio", default=True, description="h5py with MPI, for backend mpio")

    depends_on("c", type="build")
    depends_on("py-setuptools@77:", type="build")
    depends_on("py-setuptools-scm@8.1:", type="build")

    depends_on("python@3.10:", type=("build", "run"))
    depends_on("py-click@8.1:", type="run")
    depends_on("py-crc32c@2.4:", type="run")
    depends_on("py-deflate@0.7:", type="run")
    depends_on("py-h5py@3.12:", type="run")
    depends_on("py-h5py+mpi", type="run", when="+mpio")
    depends_on("py-hdmf@6:", type="run")
    depends_on("py-isal@1.6:", type="run")
    depends_on("py-mpi4py@4:", type="run")
    depends_on("py-numcodecs@0.13:", type="run")
    depends_on("py-numpy@1.26:", type="run")
    depends_on("py-pynwb@4:", type="run")
    depends_on("py-pyyaml@6:", type="run")
    depends_on("py-rich@13:", type="run")
    depends_on("py-tomli@2:", type="run", when="^python@:3.10")
    depends_on("py-zlib-ng@1:", type="run")
