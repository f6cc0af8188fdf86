"""Swin with both mergings."""

from contract import NetworkContract


class TestSwinNanoSpm(NetworkContract):
    name = "swin_nano_spm"
