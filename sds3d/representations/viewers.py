"""The programs that open the files of a scene."""

OPENED_BY = {".ply": "opens in SuperSplat and similar viewers"}  # by the suffix of the file
