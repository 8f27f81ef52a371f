"""The HTTP port: instances come in by the Store transaction of DICOMweb (STOW-RS, PS3.18 section 10.5)."""
