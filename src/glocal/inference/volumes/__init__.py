"""Volumes through networks for images: prediction, NIfTI, MetaImage and DICOM SEG of the result."""
