"""PVT with both mergings."""

from contract import NetworkContract


class TestPvtNanoSpm(NetworkContract):
    name = "pvt_nano_spm"
