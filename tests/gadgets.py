"""Pickles that would run something, or take the machine down, where they are read carelessly.

`watch` is put into a process of its own: from then on whatever imports, starts, writes or connects
is noted. `GADGETS` are pickles without a frame; `files` puts each into every format.
"""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import struct
import sys
import zipfile
from pathlib import Path

import torch


def call(module: str, name: str, *arguments: object) -> bytes:
    """Protocol 2: a function of a module called with plain arguments."""
    body = pickle.dumps(arguments, protocol=2)[2:-1]
    return f"c{module}\n{name}\n".encode() + body + b"R"


def mention(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def stacked(module: str, name: str, *arguments: object) -> bytes:
    """Protocol 4: the name comes from the stack and may be dotted."""
    names = b"".join(b"\x8c" + bytes([len(x)]) + x.encode() for x in (module, name))
    return names + b"\x93" + pickle.dumps(arguments, protocol=2)[2:-1] + b"R"


def built(module: str, name: str, state: object) -> bytes:
    return mention(module, name) + b")\x81" + pickle.dumps(state, protocol=2)[2:-1] + b"b"


def on(thing: bytes, state: object) -> bytes:
    """A state that is put onto a thing, which may be a class or a function."""
    return thing + pickle.dumps(state, protocol=2)[2:-1] + b"b"


LAUGHS = b"]" + b"".join(b"q%c(" % i + b"h%c" % i * 10 + b"lq%c" % (i + 1) for i in range(40))
PLANT = "planted_module"

# What must not run, whatever reads it.
RUNS = {
    "os.system": call("os", "system", "touch CANARY"),
    "posix.system": call("posix", "system", "touch CANARY"),
    "nt.system": call("nt", "system", "touch CANARY"),
    "subprocess": call("subprocess", "check_output", ["touch", "CANARY"]),
    "Popen": call("subprocess", "Popen", ["touch", "CANARY"]),
    "pty": call("pty", "spawn", ["touch", "CANARY"]),
    "eval": call("builtins", "eval", "open('CANARY', 'w')"),
    "py2 eval": call("__builtin__", "eval", "open('CANARY', 'w')"),
    "exec": call("builtins", "exec", "open('CANARY', 'w')"),
    "compile": call("builtins", "compile", "1", "x", "eval"),
    "open": call("builtins", "open", "CANARY", "w"),
    "io.open": call("io", "open", "CANARY", "w"),
    "import": call("builtins", "__import__", PLANT),
    "importlib": call("importlib", "import_module", PLANT),
    "runpy": call("runpy", "run_path", f"{PLANT}.py"),
    "getattr": mention("builtins", "getattr") + mention("os", "system") + b"X\4\0\0\0nameq\1\x86R",
    "mkdir": call("os", "mkdir", "CANARY"),
    "rmtree": call("shutil", "rmtree", "keep"),
    "remove": call("os", "remove", "keep"),
    "pathlib": call("pathlib", "Path.touch", "CANARY"),
    "socket": call("socket", "create_connection", ("127.0.0.1", 9)),
    "urlopen": call("urllib.request", "urlopen", "http://127.0.0.1:9/"),
    "webbrowser": call("webbrowser", "open", "http://127.0.0.1:9/"),
    "timeit": call("timeit", "timeit", "open('CANARY', 'w')"),
    "pip": call("pip._internal", "main", ["download", "x"]),
    "code": call("code", "interact"),
    "pdb": call("pdb", "run", "open('CANARY', 'w')"),
    "bdb": call("bdb", "Bdb.run", None, "open('CANARY', 'w')"),
    "numpy exec": call("numpy.testing._private.utils", "runstring", "open('CANARY','w')", {}),
    "numpy load": call("numpy", "load", "nested.npy", None, True),
    "torch load": call("torch", "load", "nested.pt"),
    "nested storage": call("torch.storage", "_load_from_bytes", pickle.dumps(print)),
    "torch hub": call("torch.hub", "load", ".", "x"),
    "torch compile": call("torch.utils.cpp_extension", "load", "x", ["x.cpp"]),
    "torch ops": call("torch.ops", "load_library", "./x.so"),
    "jit": call("torch.jit", "load", "x.pt"),
    "unpickle": call("pickle", "loads", b"cos\nsystem\n(S'touch CANARY'\ntR."),
    "joblib": call("joblib", "load", "x"),
    "pandas": call("pandas", "read_pickle", "x"),
    "yaml": call("yaml", "unsafe_load", "!!python/object/apply:os.system ['touch CANARY']"),
    "ctypes": call("ctypes", "CDLL", "x.so"),
    "partial called": mention("functools", "partial") + call("os", "system", "touch CANARY")[:11]
    + b"\x85R" + b"(X\x0c\0\0\0touch CANARYtR",
    "signal": call("signal", "alarm", 1),
    "exit": call("sys", "exit", 3),
    "_exit": call("os", "_exit", 3),
    "abort": call("os", "abort"),
    "planted storage": mention(PLANT, "Storage"),
    "planted tensor": mention(PLANT, "Tensor"),
    "planted below torch": mention("torch." + PLANT, "FloatStorage"),
    "planted class": built(PLANT, "Thing", {"a": 1}),
    "planted instance": f"(i{PLANT}\nThing\n".encode(),
    "dotted name": stacked("torch", "serialization.os.system", "touch CANARY"),
    "dotted class": stacked("collections", "abc.sys.modules.clear"),
    "from the stack": stacked("os", "system", "touch CANARY"),
    "extension": b"\x82\x01",
    "omegaconf loader": call("omegaconf", "OmegaConf.load", "x.yaml"),
    "resolver": call("omegaconf", "OmegaConf.register_new_resolver", "x", None),
    "lightning": call("lightning.pytorch.cli", "instantiate_class", (), {"class_path": "os.x"}),
    "hydra": call("hydra.utils", "instantiate", {"_target_": "os.system", "_args_": ["x"]}),
    "typed": call("torch._tensor", "_rebuild_from_type_v2", print, int, ("x",), None),
    "weakref": call("weakref", "finalize", int, print),
    "types": call("types", "FunctionType", None, {}),
    "persistent module": b"(X\6\0\0\0moduleq\1" + mention(PLANT, "Thing")
    + b"X\1\0\0\0xX\1\0\0\0ytQ",
}  # fmt: skip

# What would change or exhaust the process.
HARMS = {
    "class changed": on(mention("argparse", "Namespace"), (None, {"__eq__": None})),
    "dict changed": on(mention("collections", "OrderedDict"), {"update": 1}),
    "function changed": on(mention("torch._utils", "_rebuild_tensor_v2"), (None, {"__code__": 1})),
    "codec changed": on(mention("_codecs", "encode"), (None, {"__defaults__": (1,)})),
    "shadowed": built("argparse", "Namespace", {"__class__": 1}),
    "long list": call("builtins", "list", range(10**18)),
    "long set": call("builtins", "set", range(10**12)),
    "long bytes": call("builtins", "bytearray", 10**13),
    "long counter": call("collections", "Counter", range(10**12)),
    "long size": call("torch", "Size", range(10**12)),
    "large tensor": call("torch", "Tensor", 10**12),
    "large storage": call("torch", "FloatStorage", 10**12),
    "large array": call("numpy", "ndarray", (10**12,)),
    "array state": mention("numpy.core.multiarray", "_reconstruct") + mention("numpy", "ndarray")
    + b"K\0\x85C\1b\x87R" + pickle.dumps((1, (10**9, 10**9), 0, False, b"x"), 2)[2:-1] + b"b",
    "large fraction": call("fractions", "Fraction", "1e1000000000"),
    "large delta": call("datetime", "timedelta", 10**400),
    "large meta": call("torch._utils", "_rebuild_meta_tensor_no_storage", 0, (10**30,), (1,), 0),
    "laughs": LAUGHS,
    "nested lists": b"]" * 20_000 + b"a" * 19_999,
    "nested tuples": b")" + b"\x85" * 20_000,
    "nested key": b"}" + b")" + b"\x85" * 20_000 + b"K\1s",
    "nested frozenset": b"(" * 20_000 + b"\x91" * 20_000,
    "itself": b"]q\1h\1a",
    "own key": b"}q\1X\1\0\0\0ah\1s",
    "far memo": b"Nr\xff\xff\xff\xff",
    "long frame": b"\x95" + struct.pack("<Q", 2**60),
    "long text": b"\x8d" + struct.pack("<Q", 2**60),
    "long buffer": b"\x96" + struct.pack("<Q", 2**40),
    "huge number": b"\x8b" + struct.pack("<i", 2**31 - 1),
    "slow keys": b"}(" + b"".join(
        pickle.dumps(i * (2**61 - 1), 2)[2:-1] + b"N" for i in range(1, 2000)) + b"u",
    "class with a null": b"\x8c\1a\x8c\3a\0b\x93)R",
    "surrogate": b"\x8c\1a\x8c\3\xed\xa0\x80\x93)R",
}  # fmt: skip

GADGETS = RUNS | HARMS


def spliced(pickles: bytes, number: int, gadget: bytes) -> bytes:
    """Put a gadget among the items of one of several pickles, each of which is a mapping."""
    file = io.BytesIO(pickles)
    for _ in range(number + 1):
        for _operation in pickletools.genops(file):
            pass
    end = file.tell()
    assert pickles[end - 2 : end] == b"u."
    return pickles[: end - 2] + b"X\5\0\0\0thing" + gadget + pickles[end - 2 :]


def files(folder: Path, gadget: bytes, step: int) -> dict[str, Path]:
    """Write a gadget in every format; return the paths by format."""
    tree = {"state_dict": {"a.w": torch.ones(2)}, "global_step": step}
    plain, old = io.BytesIO(), io.BytesIO()
    torch.save(tree, plain)
    torch.save(tree, old, _use_new_zipfile_serialization=False)
    found = {"zip": folder / f"zip-step={step}.ckpt", "legacy": folder / f"old-step={step}.ckpt"}
    with zipfile.ZipFile(plain) as whole, zipfile.ZipFile(found["zip"], "w") as archive:
        for name in whole.namelist():
            content = whole.read(name)
            is_pickle = name.endswith("data.pkl")
            archive.writestr(name, spliced(content, 0, gadget) if is_pickle else content)
    found["legacy"].write_bytes(spliced(old.getvalue(), 3, gadget))
    first = folder / f"first-step={step}.ckpt"  # where torch has its magic number
    first.write_bytes(b"\x80\x02" + gadget + b".")
    found["first"] = first
    found["index"] = folder / f"index-step_{step}"
    found["index"].mkdir()
    (found["index"] / ".metadata").write_bytes(b"\x80\x02" + gadget + b".")
    (found["index"] / "__0_0.distcp").write_bytes(plain.getvalue())
    found["lone"] = folder / f"lone_step_{step}"
    found["lone"].mkdir()
    (found["lone"] / "model.pt").write_bytes(found["zip"].read_bytes())
    found["sharded"] = folder / f"checkpoint-{step}"
    found["sharded"].mkdir()
    weight_map = {"weight_map": {"a.w": "../../pytorch_model-1.bin", "b": "pytorch_model-1.bin"}}
    (found["sharded"] / "pytorch_model.bin.index.json").write_text(json.dumps(weight_map))
    (found["sharded"] / "pytorch_model-1.bin").write_bytes(found["legacy"].read_bytes())
    return found


_SEEN: list[str] = []
_WATCHED = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.remove", "os.rmdir",
            "os.mkdir", "shutil.rmtree", "subprocess.Popen", "socket.connect", "ctypes.dlopen",
            "compile", "exec", "webbrowser.open")  # fmt: skip


def watch() -> list[str]:
    """From now on, note what this process imports, compiles, runs, writes or connects to."""

    def hook(event: str, arguments: tuple) -> None:
        writes = (
            event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        )
        planted = event == "import" and PLANT in arguments[0]
        if event in _WATCHED or writes or planted:
            _SEEN.append(f"{event} {str(arguments)[:200]}")

    sys.addaudithook(hook)
    return _SEEN
