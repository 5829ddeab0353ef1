"""Garbage collection stops for imports and is afterwards as it was."""

import gc

import pytest

from sds3d.native.gc_pause import no_collection


@pytest.mark.parametrize("enabled", [True, False])
def test_collection_is_off_inside_and_as_before_afterwards(enabled: bool) -> None:
    before = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        with pytest.raises(KeyError), no_collection():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() == enabled
    finally:
        gc.enable() if before else gc.disable()
