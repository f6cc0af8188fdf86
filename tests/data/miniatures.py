"""Tiny copies of public data sets, laid out as their makers distribute them. The pixels are drawn, not theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 32


def disc(size: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    """A filled disc, ``bool (H, W)``."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def frame(seed: int, size: tuple[int, int] = (SIZE, SIZE), channels: int = 1) -> np.ndarray:
    """An 8-bit picture of noise."""
    shape = size if channels == 1 else (*size, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def symphysis_and_head(seed: int = 0) -> np.ndarray:
    """A mask of 0, 1 (small, upper left) and 2 (large), ``uint8``."""
    label = np.zeros((SIZE, SIZE), np.uint8)
    label[disc(label.shape, (20, 18), 9)] = 2
    label[disc(label.shape, (6 + seed % 3, 7), 3)] = 1
    return label


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def organs(
    seed: int, shape: tuple[int, int, int] = (4, SIZE, SIZE - 4), classes: int = 9
) -> tuple[np.ndarray, np.ndarray]:
    """A volume in [0, 1] ``float32`` and its labels, ``(D, H, W)``; every class occurs."""
    label = np.zeros(shape, np.uint8)
    for index in range(1, classes):
        label[:, 3 * index : 3 * index + 2, 2 + seed : 8 + seed] = index
    values = np.random.default_rng(seed).random(shape, np.float32) * 0.2 + label.astype(np.float32) / 12
    return values.astype(np.float32), label


def nifti(path: Path, values: np.ndarray, affine: np.ndarray | None = None, code: int = 1) -> None:
    """Write ``(D, H, W)`` with plain nibabel, independently of the package."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([1.5, 1.5, 4.0, 1.0]) if affine is None else affine
    image = nibabel.Nifti1Image(values.transpose(2, 1, 0), affine)
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    nibabel.save(image, path)


def mha(path: Path, values: np.ndarray) -> None:
    """Write an array whose first axis is the slowest as MetaImage."""
    import SimpleITK

    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(path))


def nnunet(root: Path) -> None:
    """nnU-Net raw, version 2: three labelled CT volumes and one without labels."""
    for index in range(3):
        values, label = organs(index, classes=3)
        nifti(root / "imagesTr" / f"abdomen_{index:03d}_0000.nii.gz", (values * 1000 - 500).astype(np.int16))
        nifti(root / "labelsTr" / f"abdomen_{index:03d}.nii.gz", label)
    nifti(root / "imagesTs" / "abdomen_900_0000.nii.gz", organs(9, classes=3)[0])
    labels = {"background": 0, "liver": 1, "spleen": 2}
    record = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 3, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(record))


def decathlon(root: Path) -> None:
    """Medical Segmentation Decathlon (nnU-Net version 1), two channels in 4-D files."""
    import nibabel

    for index in range(2):
        values, label = organs(index, classes=3)
        both = np.stack([values.T, 1 - values.T], axis=-1)
        (root / "imagesTr").mkdir(parents=True, exist_ok=True)
        nibabel.save(
            nibabel.Nifti1Image(both, np.diag([1, 1, 3, 1.0])), root / "imagesTr" / f"prostate_{index:02d}.nii.gz"
        )
        nifti(root / "labelsTr" / f"prostate_{index:02d}.nii.gz", label, np.diag([1, 1, 3, 1.0]))
    record = {
        "modality": {"0": "T2", "1": "ADC"},
        "labels": {"0": "background", "1": "PZ", "2": "TZ"},
        "numTraining": 2,
    }
    (root / "dataset.json").write_text(json.dumps(record))


def synapse(root: Path) -> None:
    """TransUNet's Synapse: two training volumes in slices, one test volume, lists."""
    import h5py

    (root / "train_npz").mkdir(parents=True)
    (root / "test_vol_h5").mkdir()
    lists = root / "lists" / "lists_Synapse"
    lists.mkdir(parents=True)
    names = []
    for case in (5, 6):
        values, label = organs(case - 5)
        for k in range(len(values)):
            names.append(f"case{case:04d}_slice{k:03d}")
            np.savez(root / "train_npz" / names[-1], image=values[k], label=label[k].astype(np.float32))
    values, label = organs(2)
    with h5py.File(root / "test_vol_h5" / "case0001.npy.h5", "w") as file:
        file["image"], file["label"] = values, label.astype(np.float32)
    (lists / "train.txt").write_text("".join(f"{name}\n" for name in names))
    (lists / "test_vol.txt").write_text("case0001\n")
    (lists / "all.lst").write_text("case0001.npy.h5\n")


def acdc(root: Path) -> None:
    """ACDC as distributed beside TransUNet: slices of both phases in train/, whole volumes in test/."""
    for part in ("train", "test"):
        (root / part).mkdir(parents=True)
    for phase in ("ED", "ES"):
        values, label = organs(1, classes=4)
        for k in range(len(values)):
            np.savez(root / "train" / f"case_019_slice{phase}_{k}.npz", img=values[k], label=label[k])
        values, label = organs(2, classes=4)
        np.savez(root / "test" / f"case_002_volume_{phase}.npz", img=values, label=label)


def psfhs(root: Path) -> None:
    """PSFHS: MetaImage of 3 x H x W, channel slowest."""
    for index in range(3):
        grey = frame(index)
        mha(root / "image_mha" / f"0{index + 3744}.mha", np.stack([grey] * 3))
        mha(root / "label_mha" / f"0{index + 3744}.mha", symphysis_and_head(index)[None])


def iugc2024(root: Path, background: int = 0, symphysis: int = 7, head: int = 8) -> None:
    """IUGC 2024: two videos with masks of some frames, the frames extracted beside them; one negative video."""
    table = np.array([background, symphysis, head], np.uint8)
    for video in ("20190830T115515", "20190909T093527"):
        for number in (0, 9, 19):
            folder = root / "train" / "pos" / video
            save(folder / "mask" / f"{video}_{number}_1.png", table[symphysis_and_head(number)])
            save(folder / "mask_enhance" / f"{video}_{number}_1.png", frame(number, channels=3))
            save(folder / "frames" / f"{video}_{number}.png", frame(number + len(video), channels=3))
    (root / "train" / "neg").mkdir()
    (root / "train" / "neg" / "20190101T000000.avi").write_bytes(b"RIFF")


def jnu_ifm(root: Path) -> None:
    """JNU-IFM: frames and masks of 0, 7 and 8 in a folder for each video."""
    table = np.array([0, 7, 8], np.uint8)
    for video in ("video1", "video2"):
        for number in (1, 2):
            save(root / video / "image" / f"{video}_{number}.png", frame(number))
            save(root / video / "mask" / f"{video}_{number}_mask.png", table[symphysis_and_head(number)])
            save(root / video / "mask_enhance" / f"{video}_{number}_mask.png", frame(number, channels=3))


def hc18(root: Path) -> None:
    """HC18: outlines of heads, one cut by the border, and pixel sizes."""
    from scipy import ndimage

    rows = ["filename,pixel size(mm),head circumference (mm)"]
    for stem, centre in (("000_HC", (16, 15)), ("000_2HC", (15, 16)), ("001_HC", (26, 16))):
        head = disc((SIZE, SIZE), centre, 10)
        line = head & ~ndimage.binary_erosion(head, border_value=1)
        save(root / "training_set" / f"{stem}.png", frame(len(rows)))
        save(root / "training_set" / f"{stem}_Annotation.png", line.astype(np.uint8) * 255)
        rows.append(f"{stem}.png,0.0{len(rows) + 4},44.3")
    save(root / "test_set" / "000_HC.png", frame(99))
    (root / "training_set_pixel_size_and_HC.csv").write_text("\n".join(rows) + "\n")


def isic2018(root: Path) -> None:
    """ISIC 2018, task 1: training and validation parts."""
    for part, stems in (("Training", ("ISIC_0000000", "ISIC_0000001")), ("Validation", ("ISIC_0012255",))):
        for index, stem in enumerate(stems):
            save(root / f"ISIC2018_Task1-2_{part}_Input" / f"{stem}.jpg", frame(index, channels=3))
            mask = disc((SIZE, SIZE), (14, 16), 5 + index).astype(np.uint8) * 255
            save(root / f"ISIC2018_Task1_{part}_GroundTruth" / f"{stem}_segmentation.png", mask)


def lgg(root: Path) -> None:
    """LGG MRI segmentation: slices of two patients, one of them without tumour."""
    for patient in ("TCGA_CS_4941_19960909", "TCGA_DU_5849_19950405"):
        for number in (1, 2):
            folder = root / "kaggle_3m" / patient
            mask = disc((SIZE, SIZE), (16, 16), 4 * (number - 1)).astype(np.uint8) * 255
            save(folder / f"{patient}_{number}.tif", frame(number + len(patient), channels=3))
            save(folder / f"{patient}_{number}_mask.tif", mask * (number > 1))


def busi(root: Path) -> None:
    """BUSI: a folder for each class; a lesion with two masks."""
    for name in ("benign", "malignant", "normal"):
        for number in (1, 2):
            save(root / "Dataset_BUSI_with_GT" / name / f"{name} ({number}).png", frame(number + len(name), channels=3))
            mask = disc((SIZE, SIZE), (10, 10), 4).astype(np.uint8) * 255 * (name != "normal")
            save(root / "Dataset_BUSI_with_GT" / name / f"{name} ({number})_mask.png", mask)
    second = disc((SIZE, SIZE), (24, 24), 3).astype(np.uint8) * 255
    save(root / "Dataset_BUSI_with_GT" / "benign" / "benign (1)_mask_1.png", second)


def medmnist(root: Path, name: str = "breastmnist", channels: int = 1, labels: int = 1) -> None:
    """MedMNIST: pictures of 28 x 28 and labels in one NPZ; ``labels`` > 1: several classes a picture."""
    root.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for seed, (part, count) in enumerate((("train", 6), ("val", 3), ("test", 4))):
        random = np.random.default_rng(seed)
        shape = (count, 28, 28) if channels == 1 else (count, 28, 28, channels)
        arrays[f"{part}_images"] = random.integers(0, 256, shape, np.uint8)
        one = (np.arange(count) % 2)[:, None]
        arrays[f"{part}_labels"] = (one if labels == 1 else random.integers(0, 2, (count, labels))).astype(np.uint8)
    np.savez_compressed(root / f"{name}.npz", **arrays)


def volumes(root: Path) -> None:
    """A plain folder of volumes: two of one patient, one of another."""
    for index, stem in enumerate(("patient001_frame01", "patient001_frame12", "patient002_frame01")):
        values, label = organs(index, classes=4)
        nifti(root / "images" / f"{stem}.nii.gz", values)
        nifti(root / "masks" / f"{stem}.nii.gz", label)


MAKERS: dict[str, Callable[[Path], None]] = {
    "nnunet": nnunet,
    "synapse": synapse,
    "acdc": acdc,
    "psfhs": psfhs,
    "iugc2024": iugc2024,
    "jnu-ifm": jnu_ifm,
    "hc18": hc18,
    "medmnist": medmnist,
    "isic2018": isic2018,
    "lgg": lgg,
    "busi": busi,
    "volumes": volumes,
}
"""Layout -> what writes a miniature of it into a folder."""
