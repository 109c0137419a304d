"""The guest's initramfs: busybox, programs of this machine with their shared libraries, kernel
modules in the order in which they can be loaded, and `init`. Needs neither root nor cpio(1).

Rests on: Documentation/driver-api/early-userspace/buffer-format.rst (cpio "newc" archives), ldd(1),
modinfo(8) (a module's .modinfo section has its "depends=" as a text that ends with a NUL)."""

import lzma
import os
import re
import shutil
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BUSYBOX = "/bin/busybox"
LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x[0-9a-f]+\)$", re.M)


class Kernel:
    """A kernel that `./dev setup vm` unpacked into `folder`."""

    def __init__(self, folder):
        self.image = self.modules = self.config = None
        for at, folders, files in os.walk(folder):
            for name in files:
                if name.startswith("vmlinuz"):
                    self.image = os.path.join(at, name)
                elif re.fullmatch(r"config(-.*)?", name):
                    self.config = os.path.join(at, name)
            if os.path.basename(at) == "modules" and folders and "kernel" not in folders:
                self.modules = os.path.join(at, folders[0])
        if None in (self.image, self.modules, self.config):
            raise FileNotFoundError(f"no kernel in {folder}")
        self.release = os.path.basename(self.modules)
        self.files = {}
        for at, _, files in os.walk(self.modules):
            for name in files:
                if ".ko" in name:
                    self.files[self.module_name(name)] = os.path.join(at, name)

    @staticmethod
    def module_name(name):
        return os.path.basename(name).split(".")[0].replace("-", "_")

    def read(self, name):
        """The module's bytes, unpacked: busybox's insmod does not unpack."""
        with open(self.files[name], "rb") as file:
            data = file.read()
        return lzma.decompress(data) if self.files[name].endswith(".xz") else data

    def in_order(self, wanted):
        """name -> bytes of the wanted modules and of those that they need, these first. A name that
        this kernel has no module of is left out: it is built in, or has come since."""
        modules = {}

        def add(name):
            name = self.module_name(name)
            if name in modules or name not in self.files:
                return
            data = self.read(name)
            depends = re.search(rb"\0depends=([^\0]*)\0", data)
            for other in depends[1].decode().split(",") if depends else ():
                add(other)
            modules[name] = data
        for name in wanted:
            add(name)
        return modules


class Image:
    """Files for the guest, by their names there. Folders come by themselves."""

    def __init__(self):
        self.entries = {}
        self.add(BUSYBOX, "/bin/busybox")
        self.add(os.path.join(HERE, "init"), "/init")

    def add(self, source, name=None, strip=False):
        """A file of this machine. `strip` leaves the debugger's lines at home."""
        if strip and shutil.which("strip"):
            with tempfile.NamedTemporaryFile() as stripped:
                subprocess.run(["strip", "-o", stripped.name, source], check=True)
                with open(stripped.name, "rb") as file:
                    data = file.read()
        else:
            with open(source, "rb") as file:
                data = file.read()
        mode = 0o755 if os.access(source, os.X_OK) else 0o644
        self.entries[name or source] = (0o100000 | mode, data)

    def add_text(self, name, text):
        self.entries[name] = (0o100644, text.encode())

    def add_program(self, source, name=None, strip=False):
        """A program, and what ldd says it loads, under the same names as here."""
        source = shutil.which(source) or source
        self.add(source, name, strip)
        listed = subprocess.run(["ldd", source], capture_output=True, text=True, check=True).stdout
        for library in LIBRARY.findall(listed):
            self.add(library)

    def add_kernel(self, kernel, at_boot, later=()):
        """Its modules, of which init loads those `at_boot`, and its configuration, where Debian has
        it."""
        self.add(kernel.config, f"/boot/config-{kernel.release}")
        first = kernel.in_order(at_boot)
        for name, data in {**first, **kernel.in_order(later)}.items():
            self.entries[f"/modules/{name}.ko"] = (0o100644, data)
        self.add_text("/modules/order", "".join(f"{name}.ko\n" for name in first))

    def write(self, path):
        folders = {""}
        for name in self.entries:
            while name := os.path.dirname(name).rstrip("/"):
                folders.add(name)
        with open(path, "wb") as file:
            number = 0
            for name in sorted(folders - {""}):
                number += 1
                self.write_entry(file, number, name, 0o040755, b"")
            for name, (mode, data) in self.entries.items():
                number += 1
                self.write_entry(file, number, name, mode, data)
            self.write_entry(file, 0, "TRAILER!!!", 0, b"")

    @staticmethod
    def write_entry(file, number, name, mode, data):
        name = name.lstrip("/").encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        for part in (head, data):
            file.write(part + b"\0" * (-len(part) % 4))
