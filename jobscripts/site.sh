# What is particular to your cluster. Every job script here reads this file; nothing else needs to be changed for a site.

# 1. The environment in which parnwb is installed, and the modules that it needs:
#    module load python openmpi
source "$HOME/parnwb/.venv/bin/activate"

# 2. How srun reaches your MPI library: pmix for Open MPI, pmi2 for MPICH and its kin (cray_shasta on HPE Cray).
#    The wrong one starts ranks that do not know of each other, which parnwb refuses. `srun --mpi=list` shows what
#    your SLURM has.
case $(parnwb doctor --mpi) in
    "Open MPI"*) mpi_type=pmix ;;
    *) mpi_type=pmi2 ;;
esac

# launch [-n RANKS] PROGRAM...: start it on all ranks of the job; if one of them is killed, all end.
#    Where srun cannot start MPI programs: mpiexec "$@"
launch() {
    srun --mpi="$mpi_type" --kill-on-bad-exit=1 "$@"
}

# stripe FOLDER: spread the files that will be created there over storage servers. Lustre:
#    lfs setstripe --stripe-count 8 --stripe-size 4M "$1"
stripe() {
    :
}

# One thread for each rank: ranks are the unit of parallelism.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
