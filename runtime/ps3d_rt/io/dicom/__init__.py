"""DICOM series: slices that say where they lie. Needs pydicom, from the extra ``dicom``."""
