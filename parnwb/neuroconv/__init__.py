"""neuroconv's conversions with all ranks: ``run_conversion`` in one line, and its YAML conversion specification."""

from parnwb.neuroconv.run import run_conversion, run_conversion_from_yaml

__all__ = ["run_conversion", "run_conversion_from_yaml"]
