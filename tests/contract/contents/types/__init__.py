"""Every neurodata type that pynwb writes, by family."""
