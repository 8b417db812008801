"""What a process finds of the machine: kernel, memory, storage, its own start. Nothing here needs MPI."""
