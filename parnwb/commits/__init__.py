"""What survives any end of a job: the journal, what is recorded beside it, and how it is read again."""
