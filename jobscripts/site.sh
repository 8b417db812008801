# What is particular to your cluster. Every job script here reads this file; nothing else needs to be changed for a site.

# 1. The environment in which parnwb is installed, and the modules that it needs:
#    module load python openmpi
source "$HOME/parnwb/.venv/bin/activate"

# 2. How ranks are started, on all nodes and tasks of the job. If one rank is killed, all must end. Open MPI: srun
#    --mpi=pmix. MPICH from PyPI: its own mpiexec, which takes the nodes from SLURM, or what is above it, if
#    `srun --mpi=list` has pmi2: then MPICH must send messages by libfabric (ofi). A site's own MPICH, Intel MPI or Cray
#    MPICH: srun --mpi=pmi2 or cray_shasta. The wrong one starts ranks that do not know of each other, which parnwb
#    refuses.
case $(${PARNWB_CONTAINER:-} parnwb doctor --mpi) in
    "Open MPI"*) launcher=(srun --mpi=pmix --kill-on-bad-exit=1) ;;
    # *) export MPIR_CVAR_CH4_NETMOD=ofi && launcher=(srun --mpi=pmi2 --kill-on-bad-exit=1) ;;
    *) launcher=(mpiexec) ;;
esac

# 3. stripe FOLDER [SERVERS]: spread the files that will be created there over storage servers. Lustre:
#    lfs setstripe --stripe-count "${2:-8}" --stripe-size 4M "$1"
stripe() {
    :
}

# 4. One thread for each rank in libraries: ranks are the unit of parallelism. Those of parnwb that compress are as many
#    as --cpus-per-task says, which srun must be told of anew; not the one by which mpiexec starts a program for all ranks
#    of a node, which would have no more cores than one of them.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
[[ ${launcher[0]} != srun ]] || export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}

# 5. pynwb keeps a cache in the home folder, which ranks that are the first to use it would write at the same time, and
#    read from each other half written.
export PYNWB_NO_CACHE_DIR=1

# 6. A node, for `parnwb jobscript`, which reads these lines as they are: cores and MB of memory for jobs; MB that a rank
#    does in a second (measured by strong_scaling.sbatch), and that the file system takes from all ranks together, or the
#    file of benchmarks/calibrate.py --output instead of both; minutes that a job may last; further options of sbatch.
cores_per_node=16
memory_per_node_mb=64000
rate_per_rank_mb=40
file_system_mbs=2000
costs=""
longest_minutes=1440
sbatch_options=""  # such as "--account=lab --partition=long"

# 7. How often a job may be requeued: one whose time is too short for any progress would be for ever.
restarts_at_most=50

# What the scripts call; the same everywhere.

# launch [-N NODES -n RANKS] PROGRAM...
launch() {
    [[ ${launcher[0]} == srun || $1 != -N ]] || shift 2  # only srun knows -N
    "${launcher[@]}" "$@"
}

# launch_and_requeue PROGRAM...: for what can be done again or resumed. SLURM's signal before the time is over (#SBATCH
# --signal=B:USR1@300) is passed on to the ranks: those that convert commit and end with 75, those that verify end. Then
# the job goes to the end of the queue, from where it goes on.
launch_and_requeue() {
    [[ ! ${stopping:-} ]] || requeue "it was asked to stop"
    # In the background, because bash runs a trap only when the command that it waits for has ended; and not by `launch`,
    # because the signal would reach a shell that runs the function.
    "${launcher[@]}" "$@" &
    ranks=$! status=0 stopping=
    trap 'stopping=yes; kill -USR1 $ranks 2> /dev/null || true' USR1
    while :; do
        wait $ranks && status=0 || status=$?
        kill -0 $ranks 2> /dev/null || break  # else a trap has ended the waiting
    done
    trap stopping=yes USR1  # the number of the ranks' launcher may be another program's from here on
    # Launchers, which end ranks that are not as quick as others, may not say 75.
    if ((status == 75)) || [[ $status != 0 && $stopping ]]; then
        requeue "its ranks ended with status $status"
    fi
    return $status
}

# requeue WHY: end this run of the job, which goes to the end of the queue unless it has been there too often.
requeue() {
    if ((${SLURM_RESTART_COUNT:-0} >= restarts_at_most)); then
        echo "job $SLURM_JOB_ID is not requeued: $1, and it was requeued $SLURM_RESTART_COUNT times, as restarts_at_most" \
            "of site.sh allows. If its runs have made progress submit it again, else give it more time" >&2
    else
        echo "job $SLURM_JOB_ID is requeued: $1"
        scontrol requeue "$SLURM_JOB_ID"
    fi
    exit 75
}
