"""What neuroconv does on one rank: metadata checked, an NWBFile made or added to, its datasets configured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from parnwb.authoring.bulk import uncopied_arrays
from parnwb.compression import Compression
from parnwb.errors import SourceError
from parnwb.recordings.conversion import Step
from parnwb.recordings.interfaces import ask_neuroconv, extracted_metadata, import_neuroconv
from parnwb.recordings.movies import ingest_movies_here
from parnwb.target import tell_nobody

if TYPE_CHECKING:
    from pynwb import NWBFile


AS_NEUROCONV = "neuroconv"
"""The compression that neuroconv chooses for each dataset."""


@dataclass(frozen=True)
class Conversion:
    """What neuroconv is to do on this rank. All calls are independent.

    Parameters
    ----------
    converter
        A data interface or converter.
    metadata
        None for what it extracts.
    options
        Conversion options.
    backend_configuration
        None for neuroconv's default.
    compression
        ``'neuroconv'``, or what parnwb shall compress with, so that neuroconv must not.
    ingests_movies
        Whether series of external files get the frames of these as data.
    on_mismatch
        What becomes of such files that are not what their series says: ``'raise'`` or ``'warn'``.
    """

    converter: Any
    metadata: Any
    options: Mapping[str, Any]
    backend_configuration: Any
    compression: Compression
    ingests_movies: bool = False
    on_mismatch: str = "raise"

    def prepared(self, *, appends: bool = False) -> Conversion:
        """Return this with its metadata, all of it checked and the interfaces aligned in time: to be called once.

        Raises
        ------
        SourceError
            neuroconv refuses metadata or options.
        """
        if self.converter is None:
            raise SourceError(
                "the converter can be None only where the root's sources can be sent, got None",
                remedy="Make the same converter on every rank",
            )
        metadata = extracted_metadata(self.converter) if self.metadata is None else self.metadata

        def check() -> None:
            self.converter.validate_metadata(metadata=metadata, append_mode=appends)
            if is_converter(self.converter):
                self.converter.validate_conversion_options(conversion_options=self.options)
                self.converter.temporally_align_data_interfaces(metadata=metadata, conversion_options=self.options)

        ask_neuroconv(check, "neuroconv refuses metadata or options", self._name)
        return replace(self, metadata=metadata)

    def created(self, step: Step = tell_nobody) -> NWBFile:
        """Return a new NWBFile, its datasets configured; ``step`` is told now and then that it goes on."""
        nwbfile = ask_neuroconv(
            lambda: self.converter.create_nwbfile(metadata=self.metadata, **self._keywords),
            "the NWBFile cannot be built",
            self._name,
        )
        if self.ingests_movies:
            ingest_movies_here(nwbfile, self.on_mismatch, step)
        return self._configured(nwbfile)

    def added_to(self, nwbfile: NWBFile) -> NWBFile:
        """Add to an NWBFile, configure what is new in it, and return it."""
        ask_neuroconv(
            lambda: self.converter.add_to_nwbfile(nwbfile=nwbfile, metadata=self.metadata, **self._keywords),
            "nothing can be added to the NWBFile",
            self._name,
        )
        return self._configured(nwbfile)

    @property
    def _name(self) -> str:
        return type(self.converter).__name__

    @property
    def _keywords(self) -> Mapping[str, Any]:
        return {"conversion_options": self.options} if is_converter(self.converter) else self.options

    def _configured(self, nwbfile: NWBFile) -> NWBFile:
        """Wrap the datasets with their chunks and filters; hdmf, which is asked for dtypes, must copy none of them."""
        tools = import_neuroconv("neuroconv.tools.nwb_helpers")

        def configure() -> None:
            configuration = self.backend_configuration
            if configuration is None:
                configuration = tools.get_default_backend_configuration(nwbfile=nwbfile, backend="hdf5")
                if self.compression != AS_NEUROCONV:
                    for dataset in configuration.dataset_configurations.values():
                        dataset.compressors = dataset.compressor_options = None
            if nwbfile.read_io is None:
                tools.configure_backend(nwbfile=nwbfile, backend_configuration=configuration)
            else:
                _configure_new(nwbfile, configuration)

        with uncopied_arrays():
            ask_neuroconv(configure, "neuroconv cannot configure the datasets", self._name)
        return nwbfile


def _configure_new(nwbfile: NWBFile, configuration: Any) -> None:
    """Do what neuroconv's ``configure_backend`` does to the new datasets of a file that was read.

    It would also make plain iterators of their arrays, which only one process can read. What is left of that in the
    file are datasets that cannot grow.
    """
    from hdmf.container import Data
    from hdmf.data_utils import AbstractDataChunkIterator
    from pynwb import TimeSeries

    containers = {container.object_id: container for container in nwbfile.all_children()}
    for dataset in configuration.dataset_configurations.values():
        container, name = containers[dataset.object_id], dataset.dataset_name
        is_column = isinstance(container, Data)
        data = container.data if is_column else container.fields.get(name)
        if isinstance(data, TimeSeries):
            continue  # the data of another series, to which this one has a link
        settings = dataset.get_data_io_kwargs()
        if not isinstance(data, AbstractDataChunkIterator) and not getattr(dataset.dtype, "names", None):
            settings["maxshape"] = tuple(dataset.full_shape)
        container.set_data_io(*(() if is_column else (name,)), configuration.data_io_class, settings)


def is_converter(converter: Any) -> bool:
    """Tell a converter, which takes options by the names of its interfaces, from an interface. Independent."""
    return hasattr(converter, "data_interface_objects")
