"""What the drivers share: programs started, watched and stopped; the machine; the table."""

import json
import os
import pathlib
import platform
import resource
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
MIB = 1024 * 1024
START_TIMEOUT_S = 10
STOP_TIMEOUT_S = 15
POLL_S = 0.005
SECTOR_BYTES = 512  # of /sys/dev/block/*/stat, whatever the device has
CPUCLOCK_SCHED = 2  # the kernel's number of a process' CPU time among its clocks
# Above this share of the cores used by other programs, rates and latencies are not to be believed.
OTHERS_MAX = 0.05

# ---------------------------------------------------------------------------------------------
# Programs.


def find_program(given, *names):
    for name in [given] if given else names:
        for path in (ROOT / "build" / name, ROOT / "build/tests/bench" / name, pathlib.Path(name)):
            if path.is_file() and os.access(path, os.X_OK):
                return str(path.resolve())
        path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin"
        found = shutil.which(str(name), path=path)
        if found:
            return found
    return None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pin(cores):
    """For a child: its cores, and as many open files as the system allows."""

    def apply():
        os.sched_setaffinity(0, cores)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    return apply


def http_get(port, path):
    """Gives (status, text), or (0, "") while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""


class Process:
    """A program that leaving the block stops. `cores`: where it may run."""

    def __init__(self, name, command, cores, folder, environment=None, timeout_s=START_TIMEOUT_S):
        self.name, self.command, self.cores = name, command, cores
        self.folder, self.environment, self.timeout_s = folder, environment, timeout_s

    def __enter__(self):
        self.start()
        return self

    def start(self):
        """Gives the seconds that it took until it was up."""
        self.log = open(self.folder / f"{self.name}.log", "ab")
        environment = {**os.environ, **(self.environment or {})}
        begun = time.monotonic()
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT, env=environment,
                                        preexec_fn=pin(self.cores))
        self.pid = self.process.pid
        try:
            while not self.is_up():
                if self.process.poll() is not None or time.monotonic() - begun > self.timeout_s:
                    log = (self.folder / f"{self.name}.log").read_text(errors="replace")
                    raise RuntimeError(f"{self.name} does not start: {log[-500:]}")
                time.sleep(POLL_S)
        except BaseException:
            self.stop()
            raise
        return time.monotonic() - begun

    def is_up(self):
        raise NotImplementedError

    def kill(self):
        """As a crash would: no chance to write anything."""
        self.process.kill()
        self.process.wait()
        self.log.close()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def __exit__(self, *_):
        self.stop()


class Broker(Process):
    """A broker on `port`. With a `http_port` it is up when it says that it is ready."""

    def __init__(self, name, command, port, cores, folder, http_port=None, **more):
        super().__init__(name, command, cores, folder, **more)
        self.port, self.http_port = port, http_port

    def is_up(self):
        if self.http_port is not None:
            return http_get(self.http_port, "/readyz")[0] == 200
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False


# ---------------------------------------------------------------------------------------------
# What processes cost.


def cpu_seconds(process_id):
    """CPU time of all threads of a process, in nanosecond steps."""
    return time.clock_gettime(((~process_id) << 3) | CPUCLOCK_SCHED)


def written_bytes(process_id):
    """What a process made the kernel write to a disk: whole folios, each time they are dirtied.
    A kernel that keeps files in large folios counts all of one, and writes only the blocks of it
    that are dirty: then this is far too much."""
    for line in pathlib.Path(f"/proc/{process_id}/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    return 0


def device_written_bytes(folder):
    """What was written to the device below `folder`, by everybody, or None if it isn't known."""
    device = os.stat(folder).st_dev
    path = pathlib.Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    try:
        return SECTOR_BYTES * int(path.read_text().split()[6])
    except OSError:
        return None


def sync_files(folder, forget=False):
    """Brings all files below `folder` to the disk, and may take them out of memory."""
    for path in pathlib.Path(folder).rglob("*"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            continue  # a socket, or a file that is gone by now
        try:
            if path.is_file():
                os.fdatasync(descriptor)  # a page that isn't on the disk yet can't be forgotten
                if forget:
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def rss_bytes(process_id):
    for line in pathlib.Path(f"/proc/{process_id}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return 1024 * int(line.split()[1])
    return 0


def busy_seconds(cores):
    """CPU time spent so far on these cores by anybody, as the kernel counts it."""
    busy = 0
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in {f"cpu{core}" for core in cores}:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            busy += user + nice + system + irq + softirq + steal
    return busy / os.sysconf("SC_CLK_TCK")


def own_seconds(process_ids):
    """CPU time of these processes and of all children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(map(cpu_seconds, process_ids)) + children.ru_utime + children.ru_stime


def run_bench(command, process_ids, cores, bench_cores, timeout_s):
    """Gives the outcome, with `others_busy`: the share of the cores that strangers took."""
    start, busy, own = time.monotonic(), busy_seconds(cores), own_seconds(process_ids)
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=pin(bench_cores),
                          timeout=timeout_s, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        return {"ok": False, "error": f"pulse-bench exit {done.returncode}: {done.stderr}"}
    outcome = json.loads(done.stdout)
    try:
        others = busy_seconds(cores) - busy - (own_seconds(process_ids) - own)
    except OSError:
        return outcome  # a process has died, which `ok` tells
    outcome["others_busy"] = max(0, others) / ((time.monotonic() - start) * len(cores))
    return outcome


# ---------------------------------------------------------------------------------------------
# The machine, and the table.


def describe_machine(options):
    model = "unknown CPU"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB
    version = subprocess.run([options.mosquitto, "-h"], capture_output=True, text=True,
                             check=False).stdout.splitlines()[:1] if options.mosquitto else []
    return (f"{os.cpu_count()} x {model}, {memory} MiB, Linux {platform.release()}, "
            f"load {os.getloadavg()[0]:.2f}; {version[0] if version else 'no mosquitto'}; "
            f"MQTT {options.mqtt_version}, broker on core {options.cores[0]}, "
            f"generator on core {options.cores[1]}")


def number(value, digits=None):
    if value is None or value == 0:
        return ""
    if digits is None:
        digits = 0 if value >= 100 else 1 if value >= 20 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}"


def print_table(header, lines):
    cells = [header, *lines]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    for index, line in enumerate(cells):
        print("| " + " | ".join(cell.ljust(widths[i]) for i, cell in enumerate(line)) + " |")
        if index == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
