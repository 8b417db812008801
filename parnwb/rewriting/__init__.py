"""A file that is written from other HDF5 files, object by object and without any knowledge of NWB."""
