"""Where public data sets are, how large they are, what their makers allow; and those that are given on request only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["CATALOGUE", "ON_REQUEST", "Archive", "OnRequest", "PublicSet"]

_MSD = "https://msd-for-monai.s3-us-west-2.amazonaws.com"
_CC_BY = (
    "Creative Commons Attribution 4.0 (CC BY 4.0): you may share and change the data, also commercially, if you name "
    "the makers, link the licence and say what you changed. Full text: https://creativecommons.org/licenses/by/4.0/"
)
_CC_BY_SA = (
    "Creative Commons Attribution-ShareAlike 4.0 (CC BY-SA 4.0): you may share and change the data, also commercially, "
    "if you name the makers, say what you changed, and pass it on under the same licence. "
    "Full text: https://creativecommons.org/licenses/by-sa/4.0/"
)
_CC0 = (
    "CC0 1.0: the makers waive their rights; cite their publication all the same. "
    "Full text: https://creativecommons.org/publicdomain/zero/1.0/"
)


@dataclass(frozen=True)
class Archive:
    """One file to fetch.

    Attributes:
        url: Its address.
        name: Under which it is kept.
        size: In bytes, where it is known.
        checksum: ``"md5:…"`` or ``"sha256:…"``; None where nobody has published one.
    """

    url: str
    name: str
    size: int | None = None
    checksum: str | None = None


@dataclass(frozen=True)
class PublicSet:
    """A data set whose makers allow direct download.

    Attributes:
        name: On the command line.
        title: What it is.
        home: The makers' page.
        citation: What to cite.
        licence: What the makers ask, in our words, with the address of the full text.
        archives: The files; empty where ``zenodo`` gives them.
        zenodo: Number of a Zenodo record: its files, sizes and checksums are asked for when they are fetched.
        then: What to do with the unpacked folder, as a command with ``{folder}``.
    """

    name: str
    title: str
    home: str
    citation: str
    licence: str
    archives: tuple[Archive, ...] = ()
    zenodo: int | None = None
    then: str = "glocal data inspect {folder}"


@dataclass(frozen=True)
class OnRequest:
    """A data set behind a form or an account.

    Attributes:
        name: On the command line.
        title: What it is.
        home: Where to ask for it.
        steps: What to do, in order.
    """

    name: str
    title: str
    home: str
    steps: tuple[str, ...]


def _decathlon(task: str, checksum: str, what: str) -> PublicSet:
    name = "msd_" + task.partition("_")[2].lower()
    return PublicSet(
        name,
        f"Medical Segmentation Decathlon, {what}",
        "http://medicaldecathlon.com",
        "Antonelli et al., Nature Communications 13:4128, 2022",
        _CC_BY_SA,
        (
            Archive(
                f"https://msd-for-monai.s3-us-west-2.amazonaws.com/{task}.tar",
                f"{task}.tar",
                checksum=f"md5:{checksum}",
            ),
        ),
        then="glocal data prepare {folder} " + name,
    )


def _medmnist(name: str, checksum: str, what: str, licence: str = _CC_BY) -> PublicSet:
    return PublicSet(
        name,
        f"MedMNIST v2, {what}, 28x28 pixels (classification)",
        "https://medmnist.com",
        "Yang et al., Scientific Data 10:41, 2023",
        licence,
        (Archive(f"https://zenodo.org/records/6496656/files/{name}.npz", f"{name}.npz", checksum=f"md5:{checksum}"),),
        then="glocal data prepare {folder} " + name + "-images",
    )


def _isic(part: str, checksum: str) -> Archive:
    name = f"ISIC2018_{part}.zip"
    return Archive(f"https://isic-challenge-data.s3.amazonaws.com/2018/{name}", name, checksum=f"sha256:{checksum}")


def _public() -> Iterator[PublicSet]:
    yield PublicSet(
        "kvasir_seg",
        "Kvasir-SEG: 1000 colonoscopy images with polyps outlined",
        "https://datasets.simula.no/kvasir-seg/",
        "Jha et al., Kvasir-SEG: a segmented polyp dataset, MMM 2020",
        "Free for research and education; commercial use needs the makers' written permission. Terms: "
        "https://datasets.simula.no/kvasir-seg/",
        (
            Archive(
                "https://datasets.simula.no/downloads/kvasir-seg.zip",
                "kvasir-seg.zip",
                46_227_172,
                "sha256:03b30e21d584e04facf49397a2576738fd626815771afbbf788f74a7153478f7",
            ),
        ),
    )
    yield PublicSet(
        "psfhs",
        "PSFHS: 1358 intrapartum ultrasound images with pubic symphysis and fetal head",
        "https://zenodo.org/records/10969427",
        "Chen et al., Scientific Data 11:436, 2024",
        _CC_BY,
        (
            Archive(
                "https://zenodo.org/records/10969427/files/PSFHS.zip",
                "PSFHS.zip",
                checksum="sha256:3f4a8126c84640e4d1b8a4e296d0dfd599cea6529b64b9ee00e5489bfd17ea95",
            ),
        ),
        then="glocal data prepare {folder} psfhs-images",
    )
    yield PublicSet(
        "fh_ps_aop",
        "FH-PS-AOP 2023: 4000 intrapartum ultrasound images with pubic symphysis and fetal head",
        "https://zenodo.org/records/7851339",
        "Zenodo record 7851339, 2023; Lu et al., Data in Brief 41:107904, 2022",
        _CC_BY,
        (
            Archive(
                "https://zenodo.org/records/7851339/files/"
                "Pubic%20Symphysis-Fetal%20Head%20Segmentation%20and%20Angle%20of%20Progression.zip",
                "FH-PS-AOP.zip",
                checksum="sha256:2b14d1c78e11cfb799d74951b0b985b90777c195f7a456ccd00528bf02802e21",
            ),
        ),
        then="glocal data prepare {folder} fh_ps_aop-images",
    )
    yield PublicSet(
        "hc18",
        "HC18: fetal head circumference in ultrasound, 999 training and 335 test images",
        "https://zenodo.org/records/1327317",
        "van den Heuvel et al., PLoS ONE 13:e0200412, 2018",
        _CC_BY,
        zenodo=1327317,
        then="glocal data prepare {folder} hc18-images",
    )
    yield PublicSet(
        "busi",
        "BUSI: 780 breast ultrasound images with lesions outlined, three classes",
        "https://scholar.cu.edu.eg/?q=afahmy/pages/dataset",
        "Al-Dhabyani et al., Data in Brief 28:104863, 2020",
        "Open access with its article; cite it. The makers state no licence on their page. Terms: "
        "https://doi.org/10.1016/j.dib.2019.104863",
        (Archive("https://scholar.cu.edu.eg/Dataset_BUSI.zip", "Dataset_BUSI.zip"),),
    )
    yield PublicSet(
        "isic2018",
        "ISIC 2018 task 1: 2594 training and 1000 test images of skin lesions, outlined (11 GB)",
        "https://challenge.isic-archive.com/data/#2018",
        "Codella et al., arXiv 1902.03368; Tschandl et al., Scientific Data 5:180161, 2018",
        "Creative Commons Attribution-NonCommercial 4.0 (CC BY-NC 4.0): you may share and change the data, not "
        "commercially, if you name the makers. Full text: https://creativecommons.org/licenses/by-nc/4.0/",
        (
            _isic("Task1-2_Training_Input", "80f98572347a2d7a376227fa9eb2e4f7459d317cb619865b8b9910c81446675f"),
            _isic("Task1_Training_GroundTruth", "99f8b2bb3c4d6af483362010715f7e7d5d122d9f6c02cac0e0d15bef77c7604c"),
            _isic("Task1-2_Test_Input", "e59ae1f69f4ed16f09db2cb1d76c2a828487b63d28f6ab85997f5616869b127d"),
            _isic("Task1_Test_GroundTruth", "2e8f6edce454a5bdee52485e39f92bd6eddf357e81f39018d05512175238ef82"),
        ),
        then="glocal data prepare {folder} isic2018-images",
    )
    yield _decathlon("Task02_Heart", "06ee59366e1e5124267b774dbd654057", "task 2: left atrium in MR")
    yield _decathlon("Task04_Hippocampus", "9d24dba78a72977dbd1d2e110310f31b", "task 4: hippocampus in MR (27 MB)")
    yield _decathlon("Task05_Prostate", "35138f08b1efaef89d7424d2bcc928db", "task 5: prostate in MR")
    yield _decathlon("Task09_Spleen", "410d4a301da4e5b2f6f86ec3ddba524e", "task 9: spleen in CT (1.5 GB)")
    yield _medmnist("breastmnist", "750601b1f35ba3300ea97c75c52ff8f6", "780 breast ultrasound images, 2 classes")
    yield _medmnist("pneumoniamnist", "28209eda62fecd6e6a2d98b1501bb15f", "5856 chest radiographs, 2 classes")
    yield _medmnist("retinamnist", "bd4c0672f1bba3e3a89f0e4e876791e4", "1600 fundus images, 5 grades")
    yield _medmnist("bloodmnist", "7053d0359d879ad8a5505303e11de1dc", "17092 blood cells, 8 classes")
    yield _medmnist("organamnist", "866b832ed4eeba67bfb9edee1d5544e6", "58850 axial CT slices of 11 organs")
    yield _medmnist(
        "dermamnist",
        "0744692d530f8e62ec473284d019b0c7",
        "10015 skin lesions, 7 classes",
        "Creative Commons Attribution-NonCommercial 4.0 (CC BY-NC 4.0): you may share and change the data, not "
        "commercially, if you name the makers. Full text: https://creativecommons.org/licenses/by-nc/4.0/",
    )


def _on_request() -> Iterator[OnRequest]:
    yield OnRequest(
        "synapse",
        "Synapse / BTCV abdominal CT, 30 labelled scans",
        "https://www.synapse.org/#!Synapse:syn3193805/wiki/217789",
        (
            "register at synapse.org and join the challenge 'Multi-Atlas Labeling Beyond the Cranial Vault'",
            "download Abdomen/RawData.zip; or ask the authors of TransUNet for their preprocessed copy",
            "glocal data prepare THAT_FOLDER synapse-prepared",
        ),
    )
    yield OnRequest(
        "acdc",
        "ACDC: cardiac cine MR of 150 patients",
        "https://www.creatis.insa-lyon.fr/Challenge/acdc/databases.html",
        (
            "read and accept the terms (CC BY-NC-SA 4.0) on the makers' page",
            "download the archive from their server and unpack it",
            "glocal data prepare THAT_FOLDER acdc-prepared",
        ),
    )
    yield OnRequest(
        "iugc2024",
        "IUGC 2024: intrapartum ultrasound videos",
        "https://codalab.lisn.upsaclay.fr/competitions/18413",
        (
            "register for the challenge and send its form",
            "unpack what the makers send (pos/, neg/)",
            "glocal data prepare THAT_FOLDER iugc2024-prepared",
        ),
    )
    yield OnRequest(
        "jnu_ifm",
        "JNU-IFM: 78 intrapartum ultrasound videos, 6224 frames",
        "https://figshare.com/articles/dataset/JNU-IFM/14371652",
        (
            "read the terms on that page and fetch the archive (Lu et al., Data in Brief 41:107904, 2022)",
            "unpack it",
            "glocal data prepare THAT_FOLDER jnu_ifm-prepared",
        ),
    )
    yield OnRequest(
        "lgg",
        "LGG: brain MR of 110 patients with FLAIR abnormality outlined",
        "https://www.kaggle.com/datasets/mateuszbuda/lgg-mri-segmentation",
        (
            "sign in at Kaggle (an account is needed) and download the archive (CC BY-NC-SA 4.0)",
            "unpack it (kaggle_3m/)",
            "glocal data prepare THAT_FOLDER lgg-prepared",
        ),
    )
    yield OnRequest(
        "cvc_clinicdb",
        "CVC-ClinicDB: 612 colonoscopy frames of 29 sequences",
        "https://polyp.grand-challenge.org/CVCClinicDB/",
        ("ask for access on the makers' page (research and education only)", "unpack it", "glocal data inspect FOLDER"),
    )


CATALOGUE: dict[str, PublicSet] = {entry.name: entry for entry in _public()}
"""Sets that can be fetched, by name."""

ON_REQUEST: dict[str, OnRequest] = {entry.name: entry for entry in _on_request()}
"""Sets that their makers give on request, by name."""
