"""Data sets in another transfer syntax, without compression; only if the user asks for that."""

from __future__ import annotations

import io
import warnings

from dataset_dl.pacs import services


def uncompressed(data: bytes, syntax: str) -> bytes | str:
    """Return the data set of a file in a transfer syntax without compression, or why that cannot be.

    Parameters
    ----------
    data
        The file.
    syntax
        Explicit or implicit VR, little endian.
    """
    from pydicom import dcmread

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = dcmread(io.BytesIO(data))
            if found.file_meta.TransferSyntaxUID.is_compressed:
                # The instance stays the same one, as archives do it, too.
                found.decompress(generate_instance_uid=False)
            return services.written(found, syntax)
    except Exception as error:  # decoders raise whatever strange pixels lead to
        return f"it cannot be converted ({type(error).__name__}: {error})"
