"""The schema of an extension, as an ``ndx`` package brings one."""

from __future__ import annotations

from pathlib import Path

from pynwb.spec import (
    NWBAttributeSpec,
    NWBDatasetSpec,
    NWBDtypeSpec,
    NWBGroupSpec,
    NWBLinkSpec,
    NWBNamespaceBuilder,
)

NAMESPACE = "ndx-contract"
SCHEMA = f"{NAMESPACE}.namespace.yaml"


def write_schema(folder: Path) -> None:
    """Write the extension's YAML files."""
    builder = NWBNamespaceBuilder(
        "an extension", NAMESPACE, version="0.1.0", author="nobody", contact="none@example.org"
    )
    for kind in ("TimeSeries", "LabMetaData", "DynamicTable", "VectorData", "NWBDataInterface"):
        builder.include_type(kind, namespace="core")
    for spec in (_tetrode_series(), _lab(), _poses(), _events()):
        builder.add_spec(f"{NAMESPACE}.extensions.yaml", spec)
    builder.export(SCHEMA, outdir=str(folder))


def _tetrode_series() -> NWBGroupSpec:
    return NWBGroupSpec(
        "a series with more data",
        neurodata_type_def="TetrodeSeries",
        neurodata_type_inc="TimeSeries",
        attributes=[
            NWBAttributeSpec("trode_id", "an id", "int"),
            NWBAttributeSpec("weights", "w", "float", shape=(4,)),
        ],
        datasets=[
            NWBDatasetSpec("quality of each sample", name="quality", dtype="uint8", shape=(None,)),
            NWBDatasetSpec("text of each sample", name="remarks", dtype="text", shape=(None,), quantity="?"),
        ],
        links=[NWBLinkSpec("another", "TimeSeries", name="reference", quantity="?")],
    )


def _lab() -> NWBGroupSpec:
    return NWBGroupSpec(
        "a laboratory's own",
        neurodata_type_def="ContractMetaData",
        neurodata_type_inc="LabMetaData",
        attributes=[NWBAttributeSpec("room", "a room", "text")],
        datasets=[NWBDatasetSpec("temperatures", name="temperatures", dtype="float64", shape=(None,))],
    )


def _poses() -> NWBGroupSpec:
    return NWBGroupSpec(
        "a table",
        neurodata_type_def="PoseTable",
        neurodata_type_inc="DynamicTable",
        datasets=[NWBDatasetSpec("angles", name="angle", neurodata_type_inc="VectorData", dtype="float32")],
    )


def _events() -> NWBGroupSpec:
    fields = [NWBDtypeSpec("when", "a time", "float64"), NWBDtypeSpec("code", "what", "uint16")]
    return NWBGroupSpec(
        "compound values",
        neurodata_type_def="CodedEvents",
        neurodata_type_inc="NWBDataInterface",
        datasets=[NWBDatasetSpec("events", name="codes", dtype=fields, shape=(None,))],
    )
