"""Public data sets, fetched from their makers: resumable, verified, and unpacked with distrust.

The only part of Glocal that uses the network.
"""

from glocal.data.download.catalogue import CATALOGUE, ON_REQUEST, Archive, OnRequest, PublicSet
from glocal.data.download.downloading import Downloaded, download

__all__ = ["CATALOGUE", "ON_REQUEST", "Archive", "Downloaded", "OnRequest", "PublicSet", "download"]
