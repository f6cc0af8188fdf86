"""The contract, for every registered network: one that is added is held to it without another line.

The smallest variant of each family keeps the whole contract; of the others the records are checked.
"""

from contract import NetworkContract, RecordContract

import glocal


def but_idle_biases(self, names):
    """Without the biases of convolutions that a batch norm follows: rounding decides whether their gradient is 0."""
    return [name for name in names if not name.endswith("conv.bias")]


ATTRIBUTES = {
    "attention_unet": {"without_gradient": but_idle_biases},
    "dssaunet": {"size": (256, 32), "selects": True},
    "lmnet": {"size": (32, 48)},
    "monai_dynunet": {"size": (96, 128)},
    "resunet": {"without_gradient": but_idle_biases},
    "resunetpp": {"without_gradient": but_idle_biases},
    "star_dssaunet": {"size": (256, 32), "selects": True, "open_gates": True},
    "unetpp": {"without_gradient": but_idle_biases},
}
"""Family -> attributes of :class:`NetworkContract` that differ for it."""

INFOS = [glocal.model_info(name) for name in glocal.list_models()]
SMALLEST = {info.family: info.name for info in sorted(INFOS, key=lambda info: -info.parameters)}

for info in INFOS:
    whole = SMALLEST[info.family] == info.name
    base = NetworkContract if whole else RecordContract
    title = f"Test_{info.name}"
    globals()[title] = type(title, (base,), {"name": info.name, **(ATTRIBUTES.get(info.family, {}) if whole else {})})
