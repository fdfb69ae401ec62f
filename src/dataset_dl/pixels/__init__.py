"""DICOM to pictures and arrays: headers, order, frames, contrast. Shared by the wings that show or convert.

Reading headers takes pydicom alone; everything else is installed by ``pip install "dataset-dl[pixels]"``.
"""
