"""One measurement of one engine: a fresh broker, its data in a folder of its own, one result.

A result is a dictionary of numbers with `ok` and `error`. Nothing here judges.
"""

import contextlib
import shutil
import statistics
import subprocess
import time

import harness
from storage_engines import engine_broker

PUBLISHERS, SESSIONS, WINDOW = 50, 10, 20
DURABLE_KINDS = ("wal", "sqlite", "mysql")
STALL_S = 15
LOSS_STALL_S = 2  # a broker that has lost messages sends no more: that is all there is to wait for
QUIET_S, QUIET_MAX_S = 0.4, 120
DRAIN_EACH = 10000
RECOVERY_SESSIONS, RECOVERY_EACH, RECOVERY_RETAINED = 10000, 100, 100000
WARM_UP_COUNT = 20
WINDOW1_LAPS, WINDOW1_COUNT, CONNECTED_COUNT = 7, 400, 4000


class Failure(Exception):
    """A measurement that came to nothing; the text says why."""


class Place:
    """Where all this happens: folder on a disk, options, the database server while one runs."""

    def __init__(self, options, folder, database):
        self.options, self.folder, self.database = options, folder, database
        self.number = 0

    def scaled(self, count):
        return max(10, int(count * self.options.scale))


class Bed:
    """A broker of one engine for one measurement: an empty store, removed with the block."""

    def __init__(self, place, engine):
        place.number += 1
        self.place, self.engine = place, engine
        self.name = f"bench{place.number}"
        self.folder = place.folder / self.name
        self.database = place.database if engine.kind == "mysql" else None
        self.others = []
        self.refused = 0

    def __enter__(self):
        if self.engine.kind == "mysql" and self.database is None:
            raise Failure("no MariaDB to measure with")
        self.folder.mkdir()
        url = self.database.make(self.name) if self.database else None
        self.disk_at_start = (harness.written_bytes(self.database.pid) if self.database else 0,
                              harness.device_written_bytes(self.folder))
        self.broker = engine_broker(self.engine, self.place.options, self.folder, url)
        try:
            self.broker.start()
        except BaseException:
            self.clean()
            raise
        return self

    def __exit__(self, *_):
        self.broker.stop()
        self.clean()

    def clean(self):
        if self.database:
            self.database.drop(self.name)
        shutil.rmtree(self.folder)

    def pids(self):
        return [self.broker.pid] + ([self.database.pid] if self.database else [])

    def bench(self, *arguments, may_lose=False):
        """Runs pulse-bench against the broker. Without `may_lose` all must be well."""
        options = self.place.options
        stall_s = LOSS_STALL_S if may_lose else STALL_S
        command = [options.bench, *map(str, arguments), "--port", str(self.broker.port),
                   "--broker-pid", str(self.broker.pid), "--stall", str(stall_s),
                   "--mqtt-version", str(options.mqtt_version), "--json"]
        result = harness.run_bench(command, self.pids(), set(options.cores), {options.cores[1]},
                                   timeout_s=600)
        if not result["ok"] and not (may_lose and "lost" in result):
            raise Failure(f"{arguments[0]}: {result['error'] or result}")
        self.others.append(result.get("others_busy", 0))
        self.refused += result.get("refused", 0)
        return result

    def metrics(self):
        """Sums over labels, by name; empty for brokers without such a page."""
        sums = {}
        if self.broker.http_port is not None:
            for line in harness.http_get(self.broker.http_port, "/metrics")[1].splitlines():
                if line and not line.startswith("#"):
                    name, value = line.rsplit(" ", 1)
                    name = name.split("{", 1)[0]
                    sums[name] = sums.get(name, 0) + float(value)
        return sums

    def reading(self):
        """What has been used up to now."""
        metrics = self.metrics()
        if self.engine.kind in DURABLE_KINDS and "pulse_storage_operations_total" not in metrics:
            raise Failure("no storage on the metrics page")
        return {
            "cpu": harness.cpu_seconds(self.broker.pid),
            "db_cpu": harness.cpu_seconds(self.database.pid) if self.database else 0,
            "disk": self.disk_reading(),
            "claimed": metrics.get("pulse_storage_written_bytes_total", 0),
            "operations": metrics.get("pulse_storage_operations_total", 0),
            "cancelled": metrics.get("pulse_storage_cancelled_total", 0),
        }

    def disk_reading(self):
        """Bytes written to disk: what is charged to our processes, and what the whole device got.
        Both count too much, each for its own reason, so that the smaller difference is nearer."""
        for folder in self.folders():
            harness.sync_files(folder)
        return (sum(map(harness.written_bytes, self.pids())),
                harness.device_written_bytes(self.folder))

    def folders(self):
        return [self.folder] + ([self.database.folder] if self.database else [])

    def settle(self):
        """Waits until nothing is pending and nothing more is written; gives a reading."""
        begun = changed = time.monotonic()
        disk = -1
        while time.monotonic() - begun < QUIET_MAX_S:
            now = harness.written_bytes(self.broker.pid)
            if now != disk or self.metrics().get("pulse_storage_pending_operations", 0) > 0:
                disk, changed = now, time.monotonic()
            elif time.monotonic() - changed >= QUIET_S:
                break
            time.sleep(0.1)
        return {**self.reading(), "settled_s": changed - begun}


    def warm_up(self):
        """A few messages, and then a reading: what a first write sets off in the background, such
        as filling files with zeros, is over."""
        self.bench(*load("store", 99, WARM_UP_COUNT, 1, 1), "--window", 1)
        return self.settle()


def per_message(before, after, key, count, scale=1):
    return scale * (after[key] - before[key]) / count


def disk_per_message(before, after, count):
    charged, device = (None if new is None else (new - old) / count
                       for old, new in zip(before, after))
    return charged if device is None else min(charged, device)


def load(scenario, run_id, count, publishers=PUBLISHERS, sessions=SESSIONS):
    """Arguments of pulse-bench: what one scenario stores the others come for."""
    window = ["--window", WINDOW] if scenario == "store" else []
    return [scenario, "--run-id", run_id, "--publishers", publishers, "--subscribers", sessions,
            "--count", count, *window]


def lost_by_kill(bed, count):
    """Kills the broker with the last acknowledgement, and counts what doesn't come back."""
    bed.bench(*load("store", 3, count))
    bed.broker.kill()
    bed.broker.start()
    result = bed.bench(*load("drain", 3, count), may_lose=True)
    if any(result[fault] for fault in ("doubled", "misrouted", "damaged")):
        raise Failure(f"after kill -9: {result}")
    return result["lost"] / (PUBLISHERS * count)


def measure_store(place, engine):
    """Two laps of store and drain in one broker: the second finds files and memory as they are in
    the long run, the first shows what making them costs. Then a kill."""
    count = place.scaled(engine.count)
    total = PUBLISHERS * count
    with Bed(place, engine) as bed:
        before = {**bed.reading(), "disk": bed.disk_at_start, "claimed": 0}
        first = bed.bench(*load("store", 1, count))
        after_first = bed.settle()
        bed.bench(*load("drain", 1, count))
        bed.settle()
        bed.bench(*load("revisit", 1, count))
        middle = bed.settle()
        store = bed.bench(*load("store", 2, count))
        after = bed.settle()
        bed.bench(*load("drain", 2, count))
        end = bed.settle()
        bed.bench(*load("revisit", 2, count))
        result = {
            "rate": store["units_per_s"],
            "rate_first": first["units_per_s"],
            "p50_us": store["p50_us"],
            "p99_us": store["p99_us"],
            "cpu_us": per_message(middle, after, "cpu", total, 1e6),
            "db_cpu_us": per_message(middle, after, "db_cpu", total, 1e6),
            "broker_busy": store["broker_busy"],
            "generator_busy": store["generator_busy"],
            "settled_s": after["settled_s"],
            "rss_per_message": first["bytes_per_unit"],
            "message_bytes": store["message_bytes"],
            "disk_first": disk_per_message(before["disk"], after_first["disk"], total),
            "disk": disk_per_message(middle["disk"], after["disk"], total),
            "disk_drain": disk_per_message(after["disk"], end["disk"], total),
            "claimed_first": per_message(before, after_first, "claimed", total),
            "claimed": per_message(middle, after, "claimed", total),
            "operations": per_message(middle, after, "operations", total),
        }
        if engine.keeps is not None:
            result["lost_by_kill"] = lost_by_kill(bed, max(10, count // 4))
        return finished(bed, result)


def disk_lap(place, count):
    """What one fdatasync of this disk takes, on the core where brokers run."""
    command = [place.options.bench, "disk", "--file", str(place.folder / "disk"), "--json",
               "--count", str(count)]
    result = harness.run_bench(command, [], {place.options.cores[0]}, {place.options.cores[0]},
                               timeout_s=60)
    if not result["ok"]:
        raise Failure(result["error"])
    return result


def window1_lap(bed, run_id, count):
    """One publisher that waits for each acknowledgement."""
    before = bed.reading()
    result = bed.bench(*load("store", run_id, count, 1, 1), "--window", 1)
    result["disk"] = disk_per_message(before["disk"], bed.reading()["disk"], count)
    return result


def window1_result(laps, disks, memories):
    """`laps` of one engine, and those of the disk and of memory that were neighbours."""
    result = {"ok": True, "error": ""}
    result["rate"] = statistics.median(lap["units_per_s"] for lap in laps)
    for key in ("p50_us", "p99_us", "others_busy"):
        result[key] = statistics.median(lap.get(key, 0) for lap in laps)
    if laps[0]["broker_cpu_us_per_unit"] > 0:
        result["cpu_us"] = statistics.median(lap["broker_cpu_us_per_unit"] for lap in laps)
        result["disk"] = min(lap["disk"] for lap in laps)
    result["added"] = statistics.median(
        (lap["p50_us"] - memory["p50_us"]) / disk["p50_us"] - 1
        for lap, disk, memory in zip(laps, disks, memories))
    return result


def measure_window1(place, engines):
    """All engines side by side, and the disk itself, in short turns: an added latency is the
    difference of small numbers, which must not come from different minutes. Gives the result of
    each, memory first, the disk under None."""
    count = place.scaled(WINDOW1_COUNT)
    results, laps = {}, {engine: [] for engine in (None, *engines)}
    with contextlib.ExitStack() as stack:
        beds = {}
        for engine in engines:
            try:
                beds[engine] = stack.enter_context(Bed(place, engine))
                beds[engine].warm_up()
            except ERRORS as error:
                results[engine] = {"ok": False, "error": str(error)}
        beds = {engine: bed for engine, bed in beds.items() if engine not in results}
        for lap in range(1, WINDOW1_LAPS + 1):
            laps[None].append(disk_lap(place, count))
            for engine, bed in beds.items():
                laps[engine].append(window1_lap(bed, lap, count))
    for engine in (None, *beds):
        results[engine] = window1_result(laps[engine], laps[None], laps[engines[0]])
    return results


def measure_drain(place, engine):
    """Sessions come back for what waits for them."""
    count = place.scaled(DRAIN_EACH * SESSIONS // PUBLISHERS)
    total = PUBLISHERS * count
    with Bed(place, engine) as bed:
        bed.bench(*load("store", 1, count))
        before = bed.settle()
        drain = bed.bench(*load("drain", 1, count))
        after = bed.settle()
        bed.bench(*load("revisit", 1, count))
        return finished(bed, {
            "rate": drain["units_per_s"],
            "seconds": drain["seconds"],
            "cpu_us": per_message(before, after, "cpu", total, 1e6),
            "db_cpu_us": per_message(before, after, "db_cpu", total, 1e6),
            "disk_drain": disk_per_message(before["disk"], after["disk"], total),
            "settled_s": after["settled_s"],
        })


def measure_connected(place, engine):
    """Subscribers with kept sessions that are there, and acknowledge at once."""
    count = place.scaled(CONNECTED_COUNT)
    total = PUBLISHERS * count
    with Bed(place, engine) as bed:
        before = bed.warm_up()
        pairs = bed.bench("pairs", "--qos", 1, "--persistent", "--window", WINDOW,
                          "--publishers", PUBLISHERS, "--subscribers", PUBLISHERS, "--count", count)
        after = bed.settle()
        return finished(bed, {
            "rate": pairs["units_per_s"],
            "p50_us": pairs["p50_us"],
            "p99_us": pairs["p99_us"],
            "cpu_us": per_message(before, after, "cpu", total, 1e6),
            "db_cpu_us": per_message(before, after, "db_cpu", total, 1e6),
            "disk": disk_per_message(before["disk"], after["disk"], total),
            "claimed": per_message(before, after, "claimed", total),
            "operations": per_message(before, after, "operations", total),
            "cancelled": per_message(before, after, "cancelled", total),
            "settled_s": after["settled_s"],
        })


def recovery_size(place):
    sessions = place.scaled(RECOVERY_SESSIONS)
    return sessions, sessions * RECOVERY_EACH, place.scaled(RECOVERY_RETAINED)


def fill_for_recovery(bed):
    sessions, messages, retained = recovery_size(bed.place)
    bed.bench(*load("store", 1, RECOVERY_EACH, sessions, sessions), "--window", 1)
    bed.bench("retain", "--run-id", 2, "--topics", retained)
    bed.settle()
    return sessions, messages, retained


def restart(bed, expected):
    """Kills the broker and starts it again on what it left. Gives the figures of the start."""
    bed.broker.kill()
    harness.sync_files(bed.folder, forget=True)
    seconds = bed.broker.start()
    cpu = harness.cpu_seconds(bed.broker.pid)
    metrics = bed.metrics()
    found = tuple(int(metrics.get(f"pulse_storage_loaded_{what}", 0))
                  for what in ("sessions", "queue_entries", "retained_messages"))
    if found != expected:
        raise Failure(f"sessions, queue entries, retained messages: {expected} before, {found} now")
    return {"ok": True, "error": "", "seconds": seconds, "cpu_s": cpu,
            "rss_bytes": harness.rss_bytes(bed.broker.pid),
            "rate": expected[1] / seconds, "others_busy": 0}


def measure_recovery(place, engine, times):
    """One store, made once, killed and started `times` times, and taken in the end: all results."""
    with Bed(place, engine) as bed:
        expected = fill_for_recovery(bed)
        results = [restart(bed, expected) for _ in range(times)]
        sessions = expected[0]
        bed.bench(*load("drain", 1, RECOVERY_EACH, sessions, sessions))
        bed.settle()
        bed.bench(*load("revisit", 1, RECOVERY_EACH, sessions, sessions))
        results[-1]["refused"] = bed.refused
        return results


ERRORS = (Failure, RuntimeError, OSError, subprocess.SubprocessError)


def finished(bed, result):
    return {"ok": True, "error": "", **result, "others_busy": max(bed.others),
            "refused": bed.refused}


def measured(function, *arguments):
    """The results of a measurement, or one that says what went wrong."""
    try:
        results = function(*arguments)
        return results if isinstance(results, list) else [results]
    except ERRORS as error:
        return [{"ok": False, "error": str(error)}]
