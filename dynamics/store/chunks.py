"""A store whose metadata are in memory; chunks of activations are where they belong."""

from __future__ import annotations

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import MemoryStore, WrapperStore


class Chunks(WrapperStore[MemoryStore]):
    """Metadata in memory; chunks of activations in a real store below a path."""

    def __init__(self, store: MemoryStore, real: Store, path: str):
        super().__init__(store)
        self.real, self.path, self.sizes = real, path, dict[str, int]()

    def _with_store(self, store: MemoryStore) -> Chunks:
        return Chunks(store, self.real, self.path)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return what is under a key."""
        if not is_chunk(key):
            return await super().get(key, prototype, byte_range)
        return await self.real.get(key_of(self.path, key), prototype, byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        """Write under a key."""
        if not is_chunk(key):
            await super().set(key, value)
            return
        await self.real.set(key_of(self.path, key), value)
        self.sizes[key] = len(value)

    async def delete(self, key: str) -> None:
        """Remove a key, as of a chunk without values."""
        if not is_chunk(key):
            await super().delete(key)
            return
        await self.real.delete(key_of(self.path, key))
        self.sizes.pop(key, None)

    async def exists(self, key: str) -> bool:
        """Whether there is a key."""
        if not is_chunk(key):
            return await super().exists(key)
        return await self.real.exists(key_of(self.path, key))


def is_chunk(key: str) -> bool:
    """Whether a key is of a chunk of activations."""
    return key.startswith("activations/") and "/activation/c/" in key


def key_of(path: str, key: str) -> str:
    """Return a key below the path of a root group."""
    return f"{path}/{key}".lstrip("/")
