"""What the files of the contract hold; every function fills an NWBFile."""
