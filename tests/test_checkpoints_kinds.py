"""What torch.save writes is read as torch itself reads it, without torch's unpickler."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import fractions
import io
import pathlib
import types
import uuid
import warnings
import zipfile

import numpy as np
import pytest
import torch

from dynamics import checkpoints
from dynamics.checkpoints.archive import unpickle
from dynamics.checkpoints.tensors import Described

pytestmark = pytest.mark.filterwarnings("ignore:.*(TypedStorage|Sparse|prototype)")

BASE = torch.arange(24.0).reshape(4, 6)

TENSORS = {
    "float32": BASE,
    "float64": BASE.double(),
    "float16": BASE.half(),
    "bfloat16": BASE.bfloat16(),
    "float8": BASE.to(torch.float8_e4m3fn),
    "int8": BASE.char(),
    "uint8": BASE.byte(),
    "uint16": BASE.to(torch.uint16),
    "int64": BASE.long(),
    "bool": BASE > 3,
    "complex": torch.complex(BASE, -BASE),
    "conjugate": torch.complex(BASE, -BASE).conj(),
    "negated": torch.complex(BASE, -BASE).conj().imag,
    "transposed": BASE.T,
    "part": BASE[1:, ::2],
    "expanded": torch.ones(1).expand(5, 3),
    "empty": torch.zeros(0, 3),
    "number": torch.tensor(3.5),
    "parameter": torch.nn.Parameter(BASE.clone()),
    "frozen": torch.nn.Parameter(BASE.clone(), requires_grad=False),
    "buffer": torch.nn.Buffer(BASE.clone()),
    "quantized": torch.quantize_per_tensor(BASE, 0.5, 3, torch.qint8),
    "by channel": torch.quantize_per_channel(BASE, torch.ones(4), torch.zeros(4), 0, torch.quint8),
    "sparse": torch.eye(3).to_sparse(),
}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that these are young
    TENSORS["sparse rows"] = torch.eye(3).to_sparse_csr()
    TENSORS["nested"] = torch.nested.nested_tensor([torch.ones(2), torch.zeros(3)])

LAYOUTS = {
    "zip": {},
    "legacy": {"_use_new_zipfile_serialization": False},
    "protocol 4": {"pickle_protocol": 4},
    "protocol 5": {"pickle_protocol": 5},
}


# torch writes these, and then cannot read them itself.
TORCH_FAILS = [(kind, "legacy") for kind in ("float8", "uint16", "nested")]


def same(mine, theirs) -> None:
    assert type(mine) is type(theirs) and mine.dtype == theirs.dtype
    assert mine.requires_grad == theirs.requires_grad and mine.layout == theirs.layout
    if mine.is_nested:
        for one, other in zip(mine.unbind(), theirs.unbind(), strict=True):
            same(one, other)
        return
    assert mine.shape == theirs.shape
    if mine.layout == torch.strided:
        assert mine.stride() == theirs.stride()
    if mine.is_quantized:
        assert mine.qscheme() == theirs.qscheme()
        mine, theirs = mine.dequantize(), theirs.dequantize()
    np.testing.assert_array_equal(plain(mine), plain(theirs))


def plain(tensor):
    tensor = tensor.detach()
    tensor = tensor if tensor.layout == torch.strided else tensor.to_dense()
    wide = torch.complex128 if tensor.is_complex() else torch.float64
    return tensor.resolve_conj().resolve_neg().to(wide).numpy()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", TENSORS)
def test_every_kind_of_tensor_is_what_torch_reads(tmp_path, kind, layout):
    path = tmp_path / "step=3.ckpt"
    torch.save({"model": {"w": TENSORS[kind], "again": TENSORS[kind]}}, path, **LAYOUTS[layout])
    (found,) = checkpoints.find(path)
    assert (found.format, found.note) == ("torch", "")
    mine = checkpoints.read_file(path)["model"]
    if (kind, layout) in TORCH_FAILS:
        return
    theirs = torch.load(path, weights_only=False)["model"]
    same(mine["w"], theirs["w"])
    if layout != "legacy" and mine["w"].layout == torch.strided and not mine["w"].is_quantized:
        shared = (
            mine["w"].untyped_storage().data_ptr() == mine["again"].untyped_storage().data_ptr()
        )
        assert shared, "tensors of one storage stay tied"


def test_a_compressed_archive_is_read(tmp_path):
    path, packed = tmp_path / "step=3.ckpt", tmp_path / "step=4.ckpt"
    torch.save({"model": {"w": BASE}}, path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w", 8) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert torch.equal(checkpoints.read(packed)["w"], BASE)


def test_numbers_of_the_other_byte_order_are_turned(tmp_path):
    path, turned = tmp_path / "step=3.ckpt", tmp_path / "step=4.ckpt"
    torch.save({"model": {"w": BASE}}, path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(turned, "w") as target:
        for name in source.namelist():
            raw = source.read(name)
            if name.endswith("byteorder"):
                raw = b"big"
            elif "/data/" in name:
                raw = np.frombuffer(raw, "<f4").astype(">f4").tobytes()
            target.writestr(name, raw)
    assert torch.equal(checkpoints.read(turned)["w"], BASE)


THINGS = {
    "float": np.float64(1.5),
    "integer": np.int32(-4),
    "truth": np.bool_(True),
    "complex": np.complex64(1 + 2j),
    "text": np.str_("dog"),
    "bytes": np.bytes_(b"dog"),
    "no text": np.str_(""),
    "date": np.datetime64("2024-01-01"),
    "moment": np.datetime64("2024-01-01T10:00:00.000000123"),
    "span": np.timedelta64(3, "h"),
    "record": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])[0],
    "integers": np.arange(6).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">i4"),
    "texts": np.array(["dog", "cat!"]),
    "raw": np.array([b"x", b"yz"]),
    "dates": np.array(["2024-01-01", "NaT"], dtype="datetime64[D]"),
    "objects": np.array(["dog", None, 3], dtype=object),
    "records": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "padded": np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "inner": np.zeros(2, [("a", "f4", (2, 3)), ("b", [("c", "U3")])]),
    "none": np.zeros((0, 3)),
    "single": np.array(3.0),
    "dtype": np.dtype("float32"),
    "dtype of records": np.dtype([("a", "i4")]),
    "type": np.float32,
    "state": np.random.RandomState(0).get_state(),
    "set": {1, 2},
    "frozen": frozenset({1, (2, 3)}),
    "complex number": 1j,
    "whole": 2**100,
    "slice": slice(1, None, 2),
    "range": range(3, 9, 2),
    "byte array": bytearray(b"abc"),
    "octets": b"a\xff",
    "no octets": b"",
    "ellipsis": ...,
    "kind": int,
    "kind of none": type(None),
    "counter": collections.Counter("abca"),
    "ordered": collections.OrderedDict(a=1, b=[2]),
    "deque": collections.deque([1.0, 2.0], 5),
    "default": collections.defaultdict(list, a=[1]),
    "decimal": decimal.Decimal("1.50"),
    "fraction": fractions.Fraction(2, 7),
    "uuid": uuid.UUID(int=7),
    "day": datetime.date(2024, 2, 29),
    "now": datetime.datetime(2024, 2, 29, 12, 1, 2, 3, datetime.UTC),
    "time": datetime.time(1, 2),
    "wait": datetime.timedelta(3, 4, 5),
    "zone": datetime.timezone(datetime.timedelta(hours=2), "X"),
    "path": pathlib.PurePosixPath("/a/b"),
    "namespace": argparse.Namespace(a=1, b={"c": [2]}),
    "simple": types.SimpleNamespace(a=1),
    "dtype of torch": torch.bfloat16,
    "device": torch.device("cuda", 1),
    "size": torch.Size([2, 3]),
    "layout": torch.sparse_coo,
    "scheme": torch.per_tensor_affine,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", THINGS)
def test_plain_things_are_read_as_they_were(tmp_path, kind, layout):
    path = tmp_path / "a.ckpt"
    tree = {"state_dict": {"a.w": BASE}, "global_step": 3, "thing": [THINGS[kind]] * 2}
    torch.save(tree, path, **LAYOUTS[layout])
    (found,) = checkpoints.find(path)
    assert (found.step, found.format, found.note) == (3, "lightning", "")
    mine, again = checkpoints.read_file(path)["thing"]
    theirs = torch.load(path, weights_only=False)["thing"][0]
    assert type(mine) is type(theirs) and (again is mine or isinstance(mine, int))
    if isinstance(mine, np.ndarray):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
        assert mine.flags.f_contiguous == theirs.flags.f_contiguous
        np.testing.assert_array_equal(mine, theirs)
    elif kind == "state":
        np.testing.assert_array_equal(mine[1], theirs[1])
    else:
        assert mine == theirs
        assert getattr(mine, "dtype", None) == getattr(theirs, "dtype", None)
    assert getattr(mine, "maxlen", None) == getattr(theirs, "maxlen", None)


KEPT = {
    "generator": lambda: torch.Generator(),
    "old generator": lambda: np.random.RandomState(0),
    "new generator": lambda: np.random.default_rng(0),
    "timestamp": lambda: pytest.importorskip("pandas").Timestamp("2024-01-01"),
    "zoned timestamp": lambda: pytest.importorskip("pandas").Timestamp("2024-01-01", tz="UTC"),
    "partial": lambda: __import__("functools").partial(int, 3),
}


@pytest.mark.parametrize("kind", KEPT)
def test_what_weights_do_not_need_is_kept_as_a_mark(tmp_path, kind):
    tree = {"state_dict": {"a.w": BASE}, "global_step": 3, "thing": KEPT[kind]()}
    torch.save(tree, tmp_path / "a.ckpt")
    (found,) = checkpoints.find(tmp_path)
    assert (found.format, found.note) == ("lightning", "")
    assert torch.equal(checkpoints.read(found.uri)["a.w"], BASE)


def test_names_of_both_versions_of_numpy_are_read(tmp_path):
    raw = io.BytesIO()
    torch.save({"state_dict": {"a.w": BASE}, "global_step": np.int64(7)}, raw)
    for old, new in ((b"numpy._core.multi", b"numpy.core.multi"),) * 2:
        path = tmp_path / "a.ckpt"
        with zipfile.ZipFile(raw) as source, zipfile.ZipFile(path, "w") as target:
            for name in source.namelist():
                target.writestr(name, source.read(name).replace(old, new))
        assert checkpoints.find(tmp_path)[0].step == 7
        assert checkpoints.read_file(path)["global_step"] == 7


def test_numbers_of_python_2_are_read():
    """Its pickles hold bytes as text, in whatever encoding."""
    raw = np.float64(-3.7).tobytes()
    body = (b"\x80\x02cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02f8K\x00K\x01tR("
            b"K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbU\x08"
            + raw + b"tR.")  # fmt: skip
    tree, foreign = unpickle(io.BytesIO(body), Described())
    assert tree == -3.7 and not foreign


def test_what_is_foreign_is_said_in_the_listing_and_in_the_refusal(tmp_path):
    class Own(torch.Tensor):
        pass

    Own.__qualname__ = "Own"
    globals()["Own"] = Own
    things = {
        "module": torch.nn.Linear(1, 1),
        "subclass": torch.zeros(2).as_subclass(Own),
        "masked": np.ma.array([1, 2]),
        "function": len,
    }
    for kind, thing in things.items():
        path = tmp_path / f"{kind}.ckpt"
        torch.save({"state_dict": {"a.w": BASE}, "global_step": 3, "thing": thing}, path)
        (found,) = checkpoints.find(path)
        assert found.step == 3 and "needs trust_checkpoints" in found.note
        with pytest.raises(ValueError, match=r"would construct .*`trust_checkpoints: true`"):
            checkpoints.read(path)
        assert torch.equal(checkpoints.read(path, trust=True)["a.w"], BASE)
