"""A qemu guest with a kernel of Debian's: started, asked, and gone with whoever started it.

The guest has no disk that lasts and asks for no login: init (beside this file) runs what the host
sends over a port of the virtio console and answers with its output and exit status. The console
itself, a serial line, is passed on to stderr. Nothing is left behind, whatever ends the test: qemu
dies with its parent; the tap device lives as long as its descriptor, in a network namespace of the
test's own.

Rests on: qemu(1); Documentation/networking/tuntap.rst; network_namespaces(7)."""

import collections
import ctypes
import fcntl
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))

from support import TestFolder, coded_bytes  # noqa: E402
from support.server import BINARY, SANITIZER, SOURCE  # noqa: E402
from support_image import BUSYBOX, Image, Kernel  # noqa: E402

__all__ = ["BINARY", "BUILD", "GUEST_ADDRESS", "HERE", "KERNELS", "NOT_WHOLE", "TEST_FLAGS",
           "WHOLE", "Guest", "GuestServer", "Image", "Kernel", "Tap", "coded_folder",
           "enter_network_namespace", "report", "report_tests", "why_no_guest"]

BUILD = os.path.dirname(BINARY)
# Folder of build/vm -> what it holds. Filled by `./dev setup vm`.
KERNELS = {"debian-12": "Debian 12's own kernel", "newest": "the newest of Debian's backports"}
QEMU = "qemu-system-x86_64"
HOST_ADDRESS, GUEST_ADDRESS = "10.0.0.1", "10.0.0.2"
# Emulated and on a machine that is busy with other things, too.
BOOT_LIMIT_S = 120
BOOTS = 2
# no_timer_check: whether interrupts of the emulated timer come in time depends on who else is busy.
KERNEL_OPTIONS = ("console=ttyS0 loglevel=4 panic=-1 edd=off no_timer_check"
                  f" guest_address={GUEST_ADDRESS}")
AGENT_MODULES = ("virtio_pci", "virtio_console")
DISK_MODULES = ("virtio_blk",)
NETWORK_MODULES = ("virtio_net",)
# For a program of GoogleTest's: a file of 4 GiB takes minutes here, and two tests measure time.
TEST_FLAGS = ("--gtest_filter=-*BeyondFourGibibytes*"
              ":*NothingIsHeldBackAtTheEnd*:*ProbeIsQuick*")
LIBC = ctypes.CDLL(None, use_errno=True)

Done = collections.namedtuple("Done", "status output")


def coded_folder(case, sizes):
    """A folder of position-coded files that goes with the test class, and their bytes by name."""
    folder, bodies = TestFolder(), {}
    case.addClassCleanup(folder.close)
    for salt, (name, size) in enumerate(sizes.items(), 1):
        folder.coded(name, size, salt)
        bodies[name] = coded_bytes(0, size, salt)
    return folder, bodies


def report(text):
    """A figure or a fact, for whoever reads the run."""
    print(f"    {text}", file=sys.stderr, flush=True)


def report_tests(program, output):
    """How many of GoogleTest's tests passed, and each reason of those that were skipped. Returns
    what is to be read when some failed."""
    reasons = re.findall(r"^\S+:\d+: Skipped\n(.*)$", output, re.M)
    passed = re.search(r"\[  PASSED  \] (\d+) test", output)
    report(f"{program}: {passed[1] if passed else 'none'} passed")
    for reason in sorted(set(reasons)):
        report(f"  [  SKIPPED ] {reasons.count(reason)} of them: {reason}")
    noise = re.compile(r"\[ RUN      \]|\[       OK \]|\[  SKIPPED \]|PAGEWIRE_SEED")
    return "\n".join(line for line in output.splitlines() if not noise.match(line))[-6000:]


def why_no_guest(kernel, network=False):
    """Why such a guest cannot be had here; None when it can."""
    if SANITIZER:
        return "a sanitized program in an emulated machine is too slow"
    if shutil.which(QEMU) is None or not os.path.exists(BUSYBOX):
        return f"not installed: {QEMU} or {BUSYBOX} (./dev setup vm)"
    try:
        Kernel(kernel_folder(kernel))
    except FileNotFoundError as error:
        return f"{error} (./dev setup vm)"
    if network and not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun is not here, or not for this user"
    return None


def kernel_folder(name):
    return os.path.join(SOURCE, "build/vm", name)


def accelerator():
    """KVM where the CPU itself has virtual machines. A /dev/kvm without (a guest's guest by
    paravirtualisation) runs only kernels that were made for it."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        flags = re.search(r"^flags\s*:(.*)$", file.read(), re.M)
    able = flags and {"vmx", "svm"} & set(flags[1].split())
    if able and os.access("/dev/kvm", os.R_OK | os.W_OK):
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi", "-cpu", "max"]


def dies_with_us():
    pr_set_pdeathsig = 1
    LIBC.prctl(pr_set_pdeathsig, signal.SIGKILL)


def enter_network_namespace():
    """For setUpModule, before there is a second thread. Without CAP_SYS_ADMIN it takes a user
    namespace, in which this user is root, to make one."""
    newuser, newnet = 0x10000000, 0x40000000
    user, group = os.geteuid(), os.getegid()
    if LIBC.unshare(newnet) == 0:
        return
    if LIBC.unshare(newuser | newnet) != 0:
        raise unittest.SkipTest(f"no network namespace: {os.strerror(ctypes.get_errno())}")
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"),
                       ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


class Tap:
    """A network card of the guest's at its host end. With vnet_hdr packets may be large and without
    a checksum, as on a card with TSO, which is what MSG_ZEROCOPY asks of a device. Each of its
    queues is a descriptor."""

    def __init__(self, name="guest0", queues=1):
        tunsetiff, tap, no_pi, vnet_hdr, multi_queue = 0x400454CA, 0x0002, 0x1000, 0x4000, 0x0100
        flags = tap | no_pi | vnet_hdr | (multi_queue if queues > 1 else 0)
        self.fds = []
        try:
            for _ in range(queues):
                self.fds.append(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
                fcntl.ioctl(self.fds[-1], tunsetiff, struct.pack("16sH22x", name.encode(), flags))
        except OSError as error:  # EPERM: no CAP_NET_ADMIN, even in a namespace of our own
            self.close()
            raise unittest.SkipTest(f"no tap device: {error}") from None
        for command in (["address", "add", f"{HOST_ADDRESS}/24", "dev", name],
                        ["link", "set", name, "up"]):
            subprocess.run(["ip", *command], check=True)

    def close(self):
        for fd in self.fds:
            os.close(fd)


def numa_options(memory_mib):
    """Two nodes, and a PCI bus "far" at the second."""
    options = ["-device", "pxb,id=far,bus_nr=4,numa_node=1"]
    for node in (0, 1):
        options += ["-object", f"memory-backend-ram,size={memory_mib // 2}M,id=memory{node}",
                    "-numa", f"node,nodeid={node},cpus={node},memdev=memory{node}"]
    return options


# Emulated, everything takes ten times as long: ./dev test runs what only a guest can show, and
# ./dev vm all of it.
WHOLE = os.environ.get("PAGEWIRE_VM") == "whole"
NOT_WHOLE = "left to ./dev vm, for its time in an emulated machine"


class Guest:
    """Use as a context manager, or stop()."""

    def __init__(self, kernel, image, tap=None, disk_mib=0, disk_from=None, modules=(),
                 memory_mib=1024, numa=False):
        """With `numa` each of the two CPUs has a node with half of the memory, and the network card
        is at the second one. With `disk_mib` an ext4 of that size is mounted at /disk; it holds
        what is in the folder `disk_from` of this machine. `modules` are those that load() can load
        later."""
        self.folder = tempfile.TemporaryDirectory(prefix="pagewire-vm-")
        self.console = []
        self.next_id = 0
        self.process = None
        self.kernel = kernel = Kernel(kernel_folder(kernel))
        self.release = kernel.release
        at_boot = (*AGENT_MODULES, *(NETWORK_MODULES if tap else ()),
                   *(DISK_MODULES if disk_mib else ()))
        image.add_kernel(kernel, at_boot, modules)
        image.write(self.file("initramfs"))
        self.options = ["-smp", "2", "-m", str(memory_mib), "-kernel", kernel.image,
                        "-initrd", self.file("initramfs"), "-append", KERNEL_OPTIONS]
        self.tap = tap
        if tap:
            queues = len(tap.fds)
            which = f"fd={tap.fds[0]}" if queues == 1 else f"fds={':'.join(map(str, tap.fds))}"
            several = f",mq=on,vectors={2 * queues + 2}" if queues > 1 else ""
            place = ",bus=far" if numa else ""
            self.options += numa_options(memory_mib) if numa else []
            self.options += ["-netdev", f"tap,id=net,{which}",
                             "-device", f"virtio-net-pci,netdev=net,romfile={several}{place}"]
        if disk_mib:
            self.make_disk(disk_mib, disk_from)
            self.options += ["-drive",
                             f"file={self.file('disk')},format=raw,if=none,id=disk,cache=unsafe",
                             "-device", "virtio-blk-pci,drive=disk,bus=pci.0"]
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self):
        """Twice at most: on a busy machine an emulated one sometimes stands still in its first
        second, while it measures its clocks."""
        for attempt in range(BOOTS):
            self.start_qemu()
            try:
                return self.boot()
            except AssertionError as error:
                if attempt + 1 == BOOTS:
                    raise
                report(f"not booted, once more: {str(error).splitlines()[0]}")
                self.end_qemu()

    def start_qemu(self):
        self.agent, theirs = socket.socketpair()
        command = [QEMU, *accelerator(), "-nodefaults", "-no-reboot", "-display", "none",
                   "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
                   "-chardev", f"socket,id=agent,fd={theirs.fileno()}",
                   "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent",
                   *self.options]
        descriptors = [theirs.fileno()] + (self.tap.fds if self.tap else [])
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", pass_fds=descriptors, preexec_fn=dies_with_us)
        theirs.close()
        self.reader = threading.Thread(target=self.pass_on_console, daemon=True)
        self.reader.start()
        self.answers = self.agent.makefile("rb")

    def end_qemu(self):
        self.process.kill()
        self.process.wait()
        self.reader.join(5)
        self.process.stdout.close()
        self.answers.close()
        self.agent.close()

    def file(self, name):
        return os.path.join(self.folder.name, name)

    def make_disk(self, size_mib, folder):
        with open(self.file("disk"), "wb") as file:
            file.truncate(size_mib << 20)
        contents = ["-d", folder] if folder else []
        subprocess.run(["mkfs.ext4", "-q", "-F", *contents, self.file("disk")], check=True,
                       env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})

    def pass_on_console(self):
        for line in self.process.stdout:
            line = re.sub(r"\x1b(\[[?0-9;]*[A-Za-z]|c)", "", line.rstrip("\r\n"))
            self.console.append(line)
            print(f"  | {line}", file=sys.stderr, flush=True)

    def boot(self):
        start = time.monotonic()
        self.agent.settimeout(BOOT_LIMIT_S)
        while not (line := self.read_line("booting")).startswith(b"@agent ready"):
            pass
        if self.release not in line.decode():
            raise AssertionError(f"booted {line}, not {self.release}")
        report(f"{self.release} booted in {time.monotonic() - start:.1f} s")

    def read_line(self, doing):
        try:
            line = self.answers.readline()
        except OSError:  # TimeoutError; and from then on OSError, for there may be half a line
            raise AssertionError(f"the guest does not answer: {doing}") from None
        if not line.endswith(b"\n"):
            raise AssertionError(f"the guest has ended: {doing}\n" + "\n".join(self.console[-30:]))
        return line

    def trace_of_socket(self, keyed_by):
        """Of strace's files /tmp/trace.*: the calls on the socket of setsockopt(SOL_TLS, keyed_by),
        from there on, and the bytes that they took, by call."""
        trace = self.run("cat /tmp/trace.*").output
        # The last one: before it, the first thread has tried at start what the kernel can do.
        keyed = None
        for keyed in re.finditer(rf"setsockopt\((\d+), SOL_TLS, {keyed_by}", trace):
            pass
        if not keyed:
            return [], {}
        lines = [line for line in trace[keyed.start():].splitlines() if f"({keyed[1]}, " in line]
        taken = {}
        for line in lines:
            call = re.search(r"(\w+)\(.* += (\d+)$", line)
            if call:
                taken[call[1]] = taken.get(call[1], 0) + int(call[2])
        return lines, taken

    def run(self, command, limit_s=120, check=True):
        """Runs a command line by the guest's sh; its exit status and what it printed. One that does
        not end within the limit, or with `check` ends with another status than 0, is a failure."""
        self.next_id += 1
        self.agent.settimeout(limit_s + 60)
        self.agent.sendall(f"{self.next_id} {limit_s} {command}\n".encode())
        end = re.compile(rb"@agent %d (\d+)\n" % self.next_id)
        lines = []
        while not (ended := end.fullmatch(line := self.read_line(command))):
            lines.append(line)
        done = Done(int(ended[1]), b"".join(lines)[:-1].decode(errors="replace"))
        if done.status == 128 + signal.SIGKILL:
            raise AssertionError(f"not within {limit_s} s in the guest: {command}\n{done.output}")
        if check and done.status != 0:
            raise AssertionError(f"{command} ended with {done.status}:\n{done.output}")
        return done

    def load(self, *modules):
        """Modules of the kernel, and what they need. Those that are built in are there already."""
        loaded = {line.split()[0] for line in self.run("cat /proc/modules").output.splitlines()}
        for name in self.kernel.in_order(modules):
            if name not in loaded:
                self.run(f"insmod /modules/{name}.ko")

    def stop(self):
        if self.process is not None:
            self.end_qemu()
        self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class GuestServer:
    """A server in the guest: a shell command that serves until SIGTERM and then ends with 0. It has
    begun when the shell's `ready` holds; without, when it has said what pagewire says last. `under`
    runs it and becomes it (strace -D)."""

    def __init__(self, guest, command, name="pagewire", ready=None, under=""):
        self.guest, self.name = guest, name
        self.address = self.admin = None
        ready = ready or f"grep -q 'ends it' {self.file('log')}"
        guest.run(f"{{ {under} {command} & echo $! > {self.file('pid')}; wait $!;"
                  f" echo $? > {self.file('status')}; }} > {self.file('log')} 2>&1 &")
        guest.run(f"until {ready} || [ -e {self.file('status')} ]; do sleep 0.1; done")
        if guest.run(f"[ ! -e {self.file('status')} ]", check=False).status != 0:
            raise AssertionError(f"{command} has ended:\n{self.output}")

    def file(self, kind):
        return f"/tmp/{self.name}.{kind}"

    @property
    def output(self):
        return self.guest.run(f"cat {self.file('log')}").output

    def cpu_ns(self):
        """What its threads have run for."""
        lines = self.guest.run(f"cat /proc/$(cat {self.file('pid')})/task/*/schedstat").output
        return sum(int(line.split()[0]) for line in lines.splitlines())

    def stop(self):
        self.guest.run(f"kill $(cat {self.file('pid')});"
                       f" while [ ! -e {self.file('status')} ]; do sleep 0.1; done")
        status = self.guest.run(f"cat {self.file('status')}").output.strip()
        if status != "0":
            raise AssertionError(f"{self.name} ended with {status}:\n{self.output}")
        self.guest.run(f"rm {self.file('*')}")
