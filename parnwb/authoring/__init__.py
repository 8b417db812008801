"""From an NWBFile to the skeleton: what is bulk, and pynwb's own write of all the rest."""
