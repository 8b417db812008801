"""Who writes what, and when: the decomposition, the queue, and the plan that every rank computes alike."""
