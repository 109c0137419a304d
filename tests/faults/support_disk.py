"""Disks made for tests: an ext4 image behind a filter of nbdkit's, exported as a file by nbdfuse
and mounted read-only through a loop device, in a mount namespace of the test's own."""

import contextlib
import ctypes
import mmap
import os
import shutil
import socket
import subprocess
import tempfile
import unittest

from support_faults import LIBC, MIB, dies_with_us, wait_until

LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                      ctypes.c_long]
LIBC.mlock.argtypes = LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
LIBC.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
MAP_FAILED = ctypes.c_void_p(-1).value

TOOLS = ("nbdkit", "nbdfuse", "mkfs.ext4", "mount", "umount", "fusermount3")


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def why_no_mount():
    if os.geteuid() != 0:
        return "mounting needs the root user"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (nbdkit, libnbd-bin, e2fsprogs, fuse3)"
    if not os.path.exists("/dev/fuse") or not os.path.exists("/dev/loop-control"):
        return "this kernel has no FUSE or no loop devices"
    return None


def receive_on_every_cpu():
    """A packet over loopback is received by the CPU that sends it."""
    cpus = os.sched_getaffinity(0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.bind(("127.0.0.1", 0))
        end.settimeout(60)
        try:
            for cpu in cpus:
                os.sched_setaffinity(0, {cpu})
                end.sendto(b"x", end.getsockname())
                end.recv(1)
        finally:
            os.sched_setaffinity(0, cpus)


def resident_pages(path):
    size = os.path.getsize(path)
    if size == 0:
        return 0
    fd = os.open(path, os.O_RDONLY)
    start = LIBC.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    os.close(fd)
    if start == MAP_FAILED:
        raise OSError(ctypes.get_errno(), "mmap", path)
    pages = ctypes.create_string_buffer((size + mmap.PAGESIZE - 1) // mmap.PAGESIZE)
    done = LIBC.mincore(start, size, pages)
    LIBC.munmap(start, size)
    if done != 0:
        raise OSError(ctypes.get_errno(), "mincore", path)
    return sum(page & 1 for page in pages.raw)


@contextlib.contextmanager
def mounted(kind, device, folder, options):
    run("mount", "-t", kind, "-o", options, device, folder)
    try:
        yield
    finally:
        run("umount", folder)


def enter_mount_namespace():
    """For setUpModule: a mount namespace of this process alone, so that what a killed test leaves
    mounted goes with it."""
    clone_newns = 0x00020000
    if not why_no_mount():
        if LIBC.unshare(clone_newns) != 0:
            raise unittest.SkipTest(f"unshare: {os.strerror(ctypes.get_errno())}")
        run("mount", "--make-rprivate", "/")


class Disk:
    """`folder` shows the files written by write_files(folder). What is in the page cache goes on
    being there, as on a real machine."""

    size_mib = 96
    mount_options = "loop,ro,noload,errors=continue"  # noload: no wish to write the journal

    def __init__(self, write_files):
        self.base = tempfile.mkdtemp(prefix="pagewire-disk-")
        self.image = os.path.join(self.base, "image")
        self.export = os.path.join(self.base, "export")
        self.folder = os.path.join(self.base, "root")
        self.stack = contextlib.ExitStack()
        self.stack.callback(shutil.rmtree, self.base, ignore_errors=True)
        try:
            os.mkdir(self.folder)
            with open(self.image, "wb") as file:
                file.truncate(self.size_mib * MIB)
            run("mkfs.ext4", "-q", "-F", self.image)
            with mounted("ext4", self.image, self.folder, "loop"):
                write_files(self.folder)
            self.open_export()
            self.stack.enter_context(mounted("ext4", self.device, self.folder,
                                             self.mount_options))
        except BaseException:
            self.stack.close()
            raise

    def open_export(self):
        os.mkdir(self.export)
        self.device = os.path.join(self.export, "nbd")
        process = subprocess.Popen(
            ["nbdfuse", self.export, "[", "nbdkit", "--exit-with-parent", *self.filter(), "]"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=dies_with_us())
        self.stack.callback(self.close_export, process)
        wait_until(lambda: os.path.exists(self.device), "the exported device", timeout=60)

    def close_export(self, process):
        subprocess.run(["fusermount3", "-u", self.export], check=False)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def chill(self, *names, held=False):
        """Throws these files' pages out of the cache, and those of the device under them. Pages
        that somebody holds stay: those on their way through a socket (`held`: never mind these),
        and those that a receiver has read already, whose freeing the kernel defers to another CPU
        until that one receives something (skb_attempt_defer_free())."""
        files = [os.path.join(self.folder, name) for name in names]

        def gone():
            receive_on_every_cpu()
            for path in (*files, self.device):
                fd = os.open(path, os.O_RDONLY)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)
            return held or not any(resident_pages(path) for path in files)
        wait_until(gone, f"no page of {names} is in memory")

    def keep(self, *names):
        """These files' pages stay in memory. DAMON, where somebody has it reclaim (the action
        pageout), drops pages that are in use with regions that it takes for cold; not locked
        ones."""
        for name in names:
            path = os.path.join(self.folder, name)
            size = os.path.getsize(path)
            fd = os.open(path, os.O_RDONLY)
            start = LIBC.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
            os.close(fd)
            if start == MAP_FAILED or LIBC.mlock(start, size) != 0:
                raise OSError(ctypes.get_errno(), "mmap or mlock", path)
            self.stack.callback(LIBC.munmap, start, size)

    def close(self):
        self.stack.close()


class FailingDisk(Disk):
    """Reads of the disk fail while broken() holds."""

    @property
    def trigger(self):
        return os.path.join(self.base, "trigger")

    def filter(self):
        return ("--filter=error", "file", self.image, "error-pread=EIO", "error-pread-rate=100%",
                f"error-pread-file={self.trigger}")

    @contextlib.contextmanager
    def broken(self):
        with open(self.trigger, "wb"):
            pass
        try:
            yield
        finally:
            os.unlink(self.trigger)


class PausingDisk(Disk):
    """Reads of the disk wait while paused() holds: a disk as slow as one likes."""

    @property
    def control(self):
        return os.path.join(self.base, "control")

    def filter(self):
        return ("--filter=pause", "file", self.image, f"pause-control={self.control}")

    def tell(self, order, answer):
        with socket.socket(socket.AF_UNIX) as talk:
            talk.settimeout(30)
            talk.connect(self.control)
            talk.sendall(order)
            if talk.recv(1) != answer:
                raise AssertionError(f"the pause filter did not take {order}")

    @contextlib.contextmanager
    def paused(self):
        self.tell(b"p", b"P")
        try:
            yield
        finally:
            self.resume()

    def resume(self):
        self.tell(b"r", b"R")
