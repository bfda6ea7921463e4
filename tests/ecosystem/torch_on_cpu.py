"""import torch from the wheel that the C++ side links, without 2.7 GB of CUDA libraries.

The wheel's Python module loads libtorch_cuda.so, which names cuBLAS, cuDNN and others; on the CPU none of their functions is called, and functions
are bound when they are first called. Where those libraries are not installed, empty ones of the same names stand in. Only for tests: a
call into CUDA would end the process.
"""
import ctypes
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile

# The libraries that libtorch_cuda.so of torch 2.11.0 names, with the symbol version that it asks of each.
STAND_INS = {
    "libcublas.so.13": "libcublas.so.13",
    "libcublasLt.so.13": "libcublasLt.so.13",
    "libcudnn.so.9": "libcudnn.so.9",
    "libcufft.so.12": "libcufft.so.12",
    "libcusparse.so.12": "libcusparse.so.12",
    "libnvshmem_host.so.3": "NVSHMEM",
    "libcufile.so.0": None,
    "libcurand.so.10": None,
    "libcusparseLt.so.0": None,
    "libnccl.so.2": None,
}
# Functions whose address is needed when the library is loaded.
ADDRESSES_TAKEN = {"libnvshmem_host.so.3": ("nvshmem_init",)}


def build_stand_in(folder, name, version):
    source = folder / f"{name}.c"
    source.write_text("".join(f"void {function}(void) {{}}\n" for function in ADDRESSES_TAKEN.get(name, ())))
    command = ["cc", "-shared", "-nostdlib", f"-Wl,-soname,{name}", str(source), "-o", str(folder / name)]
    if version:
        script = folder / f"{name}.map"
        script.write_text(f"{version} {{ global: *; }};\n")
        command.append(f"-Wl,--version-script={script}")
    subprocess.run(command, check=True)


def import_torch():
    site = pathlib.Path(importlib.util.find_spec("torch").origin).parent.parent
    if not (site / "nvidia" / "cudnn").is_dir():
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            for library, version in STAND_INS.items():
                build_stand_in(folder, library, version)
                ctypes.CDLL(str(folder / library), mode=ctypes.RTLD_GLOBAL)
        # Python binds every function when it loads a module; this leaves those that are never called unbound.
        sys.setdlopenflags(os.RTLD_LAZY)
    import torch

    torch.set_num_threads(1)
    return torch
