"""The storage part of `run`: what is measured, how it is judged, and the tables. See storage.md."""

import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import storage_measure as measure
from database import PROGRAMS, Database
from harness import MIB, OTHERS_MAX, describe_machine, find_program, number, print_table
from storage_engines import ENGINES, engine_named

MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs"}

# ---------------------------------------------------------------------------------------------
# What is measured: cells of a scenario and an engine.

SCENARIOS = {
    "store": [engine.name for engine in ENGINES],
    "window1": ["disk", "memory", "wal-strict", "wal-balanced", "sqlite-strict", "mysql-strict"],
    "connected": ["memory", "wal-strict", "wal-balanced"],
    "drain": ["memory", "wal-strict", "sqlite-strict", "mysql-strict", "mosquitto", "mosquitto-1s"],
    "recovery": ["wal-balanced", "sqlite-balanced", "mysql-balanced"],
}
# What a cell is compared with, in the same round.
REFERENCES = {
    "store": ["memory"],
    "window1": ["disk", "memory"],
    "connected": ["memory"],
    "drain": [],
    "recovery": [],
}
MEASURES = {
    "store": measure.measure_store,
    "connected": measure.measure_connected,
    "drain": measure.measure_drain,
}


def cell_name(scenario, engine):
    """A store is what is wanted most often: its cells are named by the engine alone."""
    return engine if scenario == "store" else f"{scenario}-{engine}"


def cells_by_name():
    """Names for --only: of single cells, and of scenarios."""
    cells = {cell_name(scenario, engine): [(scenario, engine)]
             for scenario, engines in SCENARIOS.items() for engine in engines}
    return {**cells, **{scenario: [(scenario, engine) for engine in engines]
                        for scenario, engines in SCENARIOS.items()}}


def planned_cells(only):
    """The cells wanted, and those that they are compared with, in the order of the table."""
    names = cells_by_name()
    wanted = {cell for name in only or SCENARIOS for cell in names[name]}
    wanted |= {(scenario, reference) for scenario, _ in wanted
               for reference in REFERENCES[scenario]}
    return [(scenario, engine) for scenario, engines in SCENARIOS.items() for engine in engines
            if (scenario, engine) in wanted]


# ---------------------------------------------------------------------------------------------
# How it is judged: one line per requirement.


class Rows:
    """All results, by cell and round."""

    def __init__(self, results):
        self.results = results

    def has(self, scenario, engine):
        return (scenario, engine) in self.results

    def good(self, scenario, engine):
        return [run for run in self.results.get((scenario, engine), []) if run["ok"]]

    def bad(self, scenario, engine):
        return [run for run in self.results.get((scenario, engine), []) if not run["ok"]]

    def median(self, scenario, engine, key):
        values = [run[key] for run in self.good(scenario, engine) if key in run]
        return statistics.median(values) if values else None

    def least(self, scenario, engine, key):
        """For what others can only add to, such as bytes written to the device."""
        return min((run[key] for run in self.good(scenario, engine) if key in run), default=None)

    def median_of(self, function, *cells):
        """Median over the rounds of what `function` makes of the results of one round: cells that
        were measured one after the other are compared, not medians of different minutes."""
        rounds = zip(*(self.results.get(cell, []) for cell in cells))
        values = [function(*runs) for runs in rounds if all(run["ok"] for run in runs)]
        return statistics.median(values) if values else None


class Requirement:
    """`value`: a function of rows, None where it wasn't measured. `more`: more is better. Without
    `must` and `aim` it is only said."""

    def __init__(self, text, cell, value, must, aim, unit="", more=False):
        self.text, self.cell, self.value = text, cell, value
        self.must, self.aim, self.unit, self.more = must, aim, unit, more

    def shown(self, value):
        if value is None:
            return ""
        if self.unit == "%":
            return f"{100 * value:.0f} %"
        return f"{value:,.{0 if abs(value) >= 100 else 2}f}".removesuffix(".00") + \
               (f" {self.unit}" if self.unit else "")

    def verdict(self, rows):
        value = self.value(rows)
        if rows.bad(*self.cell):
            return "FAILED"
        if value is None:
            return "no reference"
        if self.must is None:
            return ""
        sign = -1 if self.more else 1
        if sign * value > sign * self.must:
            return "MISSED"
        return "aim" if sign * value <= sign * self.aim else "must"

    def line(self, rows):
        return [self.text, self.shown(self.value(rows)), self.shown(self.must),
                self.shown(self.aim), self.verdict(rows)]


def share_of_memory(engine, scenario="store"):
    return lambda rows: rows.median_of(lambda one, memory: one["rate"] / memory["rate"],
                                       (scenario, engine), (scenario, "memory"))


def figure(scenario, engine, key):
    return lambda rows: rows.median(scenario, engine, key)


def times_its_size(key):
    def times(rows):
        written = rows.least("store", "wal-strict", key)
        size = rows.median("store", "wal-strict", "message_bytes")
        return written / size if size and written is not None else None

    return times


def least_figure(scenario, engine, key):
    return lambda rows: rows.least(scenario, engine, key)


def all_kept(engine):
    return lambda rows: max((run["lost_by_kill"] for run in rows.good("store", engine)),
                            default=None)


STRICT_STORE = ("store", "wal-strict")
REQUIREMENTS = [
    Requirement("wal strict, acknowledged/s against memory", STRICT_STORE,
                share_of_memory("wal-strict"), 0.5, 0.8, "%", more=True),
    Requirement("wal strict, window 1: added latency over one fdatasync", ("window1", "wal-strict"),
                figure("window1", "wal-strict", "added"), 0.3, 0.1, "%"),
    Requirement("wal balanced, acknowledged/s against memory", ("store", "wal-balanced"),
                share_of_memory("wal-balanced"), 0.8, 0.95, "%", more=True),
    Requirement("wal fast, acknowledged/s against memory", ("store", "wal-fast"),
                share_of_memory("wal-fast"), 0.9, 0.95, "%", more=True),
    Requirement("sqlite strict, acknowledged/s", ("store", "sqlite-strict"),
                figure("store", "sqlite-strict", "rate"), 30000, 60000, more=True),
    Requirement("mysql strict, acknowledged/s", ("store", "mysql-strict"),
                figure("store", "mysql-strict", "rate"), 20000, 50000, more=True),
    Requirement("wal strict, broker CPU per stored message", STRICT_STORE,
                figure("store", "wal-strict", "cpu_us"), 3, 1.5, "us"),
    Requirement("memory, RSS per queued message (128 B payload)", ("store", "memory"),
                figure("store", "memory", "rss_per_message"), 300, 230, "bytes"),
    Requirement("wal strict, RSS per queued message (128 B payload)", STRICT_STORE,
                figure("store", "wal-strict", "rss_per_message"), 300, 230, "bytes"),
    Requirement("wal strict, bytes written to disk per message, in the long run", STRICT_STORE,
                times_its_size("disk"), 2, 1.3, "x its size"),
    Requirement("wal strict, the same with the first zero filling", STRICT_STORE,
                times_its_size("disk_first"), None, None, "x its size"),
    Requirement("connected, wal strict: operations written per message",
                ("connected", "wal-strict"), figure("connected", "wal-strict", "operations"),
                0.1, 0.01),
    Requirement("connected, wal strict: bytes written to disk per message",
                ("connected", "wal-strict"), least_figure("connected", "wal-strict", "disk"),
                14, 1.4, "bytes"),
    *(Requirement(f"{engine.name}: lost by kill -9, of what was acknowledged",
                  ("store", engine.name), all_kept(engine.name), 0, 0, "%")
      for engine in ENGINES if engine.keeps),
    *(Requirement(f"{engine.split('-')[0]}: start on 1,000,000 queued, 100,000 retained",
                  ("recovery", engine), figure("recovery", engine, "seconds"), 10, 3, "s")
      for engine in SCENARIOS["recovery"]),
]

# ---------------------------------------------------------------------------------------------
# The tables.

STORE_HEADER = ["store", "ack/s", "of memory", "CPU us", "db CPU", "p50 us", "p99", "RSS B/msg",
                "disk B/msg", "x size", "first", "drain", "claimed", "lost by kill", "busy b/g",
                "notes"]
OTHER_HEADER = ["scenario", "per s", "seconds", "CPU us", "db CPU", "p50 us", "p99", "disk B/msg",
                "claimed", "ops/msg", "undone", "RSS MiB", "notes"]
VERDICT_HEADER = ["requirement", "measured", "must", "aim", "verdict"]


def percent(value, digits=0):
    return "" if value is None else f"{100 * value:.{digits}f} %"


def notes(rows, cell):
    parts = []
    settled_s = rows.median(*cell, "settled_s")
    if settled_s and settled_s > 0.5:
        parts.append(f"{settled_s:.1f} s until all was written")
    refused = max((run.get("refused", 0) for run in rows.good(*cell)), default=0)
    if refused:
        parts.append(f"{refused:,} connects refused because busy, and asked again")
    bad = rows.bad(*cell)
    if bad:
        parts.append(f"{len(bad)} of {len(rows.results[cell])} failed: {bad[0]['error']}"[:200])
    return "; ".join(parts).replace("|", "/").replace("\n", " ")


def store_line(rows, engine):
    def median(key):
        return rows.median("store", engine, key)

    def least(key):
        return rows.least("store", engine, key)

    disk, size, lost = least("disk"), median("message_bytes"), median("lost_by_kill")
    busy = median("broker_busy")
    return [engine, number(median("rate"), 0), percent(share_of_memory(engine)(rows)),
            number(median("cpu_us")), number(median("db_cpu_us")), number(median("p50_us")),
            number(median("p99_us")), number(median("rss_per_message"), 0), number(disk, 0),
            number(disk / size if disk else None, 2), number(least("disk_first"), 0),
            number(least("disk_drain"), 0), number(median("claimed"), 0), percent(lost, 2),
            "" if busy is None else f"{100 * busy:.0f}/{100 * median('generator_busy'):.0f} %",
            notes(rows, ("store", engine))]


def other_line(rows, scenario, engine):
    def median(key):
        return rows.median(scenario, engine, key)

    disk_key = "disk_drain" if scenario == "drain" else "disk"
    return [cell_name(scenario, engine), number(median("rate"), 0), number(median("seconds"), 3),
            number(median("cpu_us")), number(median("db_cpu_us")), number(median("p50_us")),
            number(median("p99_us")),
            number(rows.least(scenario, engine, disk_key), 1),
            number(median("claimed"), 1), number(median("operations"), 4),
            number(median("cancelled"), 2), number((median("rss_bytes") or 0) / MIB, 0),
            notes(rows, (scenario, engine))]


def print_tables(rows, scale):
    stores = [engine for scenario, engine in rows.results if scenario == "store"]
    others = [cell for cell in rows.results if cell[0] != "store"]
    if stores:
        print_table(STORE_HEADER, [store_line(rows, engine) for engine in stores])
        print()
    if others:
        print_table(OTHER_HEADER, [other_line(rows, *cell) for cell in others])
        print()
    lines = [requirement.line(rows) for requirement in REQUIREMENTS if rows.has(*requirement.cell)]
    if lines and scale == 1:
        print_table(VERDICT_HEADER, lines)
        print()
    for engine in ENGINES:
        if any(name == engine.name for _, name in rows.results):
            print(f"{engine.name}: {engine.promise}")
    if scale != 1:
        print(f"--scale {scale}: the driver was tried out, nothing was measured")


# ---------------------------------------------------------------------------------------------
# Where it happens.


def mount_of(folder):
    """Gives (type, device) of the file system that `folder` lies on."""
    folder, best = os.path.realpath(folder), ("", "unknown", "unknown")
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ", 1)
        point = left.split()[4].replace("\\040", " ")
        kind, device = right.split()[:2]
        is_above = folder == point or folder.startswith(point.rstrip("/") + "/")
        if is_above and len(point) >= len(best[0]):
            best = (point, kind, device)
    return best[1], best[2]


def describe_disk(folder):
    kind, device = mount_of(folder)
    number_ = os.stat(folder).st_dev
    block = pathlib.Path(f"/sys/dev/block/{os.major(number_)}:{os.minor(number_)}")
    cache = "unknown"
    for queue in (block / "queue", block / ".." / "queue"):  # of a disk, or of a partition's disk
        if (queue / "write_cache").exists():
            cache = (queue / "write_cache").read_text().strip()
            break
    return f"data below {folder}: {kind} on {device}, its write cache: {cache}"


def add_arguments(parser):
    parser.add_argument("--storage", action="store_true",
                        help="the storage tables instead: some 15 minutes, needs a disk")
    parser.add_argument("--only", metavar="NAME,...", type=lambda text: text.split(","), default=[],
                        help="of the storage tables only: " + ", ".join(cells_by_name()))
    parser.add_argument("--data-dir", metavar="DIR",
                        help="where brokers keep their data, on a real disk (TMPDIR)")
    parser.add_argument("--scale", type=float, default=1,
                        help="counts times this: less than 1 only tries the driver out (1)")


def check_arguments(options, parser):
    unknown = set(options.only) - set(cells_by_name())
    if unknown:
        parser.error("--only: no such name: " + ", ".join(sorted(unknown)))
    options.data_dir = options.data_dir or tempfile.gettempdir()
    if not os.path.isdir(options.data_dir):
        parser.error(f"--data-dir: no such folder: {options.data_dir}")
    kind, _ = mount_of(options.data_dir)
    if kind in MEMORY_FILE_SYSTEMS and options.scale == 1:
        parser.error(f"--data-dir: {options.data_dir} is on {kind}: choose a folder on a disk")
    cells = planned_cells(options.only)
    kinds = {engine_named(engine).kind for _, engine in cells if engine != "disk"}
    options.database_programs = {program: find_program(None, program) for program in PROGRAMS}
    needed = {"pulse-bench": options.bench, **options.database_programs,
              "mosquitto": options.mosquitto, "pulse": options.pulse}
    used = {"pulse-bench", *(PROGRAMS if "mysql" in kinds else ()),
            *(("mosquitto",) if "mosquitto" in kinds else ()),
            *(("pulse",) if kinds - {"mosquitto"} else ())}
    missing = sorted(name for name in used if needed[name] is None)
    if missing:
        parser.error("not found, build or install: " + ", ".join(missing))
    return cells


# ---------------------------------------------------------------------------------------------


def say(text):
    print(text, file=sys.stderr, flush=True)


def report(where, cell, result):
    rate = number(result.get("rate"), 0)
    say(f"{where}: {cell_name(*cell)}: " +
        (f"{rate or '-'}/s" if result["ok"] else f"FAILED: {result['error']}"))


def start_database(options, folder, stack):
    """None, when it does not start: then only its own cells fail."""
    try:
        folder.mkdir()
        return stack.enter_context(Database(options.database_programs, set(options.cores), folder))
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        say(f"no MariaDB: {error}")
        return None


def measure_window1(engines, place):
    """Results by engine name; "disk" is the disk by itself."""
    named = [engine_named(name) for name in engines if name != "disk"]
    try:
        found = measure.measure_window1(place, named)
    except measure.ERRORS as error:
        return {name: {"ok": False, "error": str(error)} for name in engines}
    return {engine.name if engine else "disk": result for engine, result in found.items()}


def measure_round(cells, place):
    """Yields (cell, result)."""
    for scenario, engine in cells:
        if scenario in MEASURES:
            for result in measure.measured(MEASURES[scenario], place, engine_named(engine)):
                yield (scenario, engine), result
    engines = [engine for scenario, engine in cells if scenario == "window1"]
    if engines:
        for engine, result in measure_window1(engines, place).items():
            yield ("window1", engine), result


def measure_all(cells, options, place):
    results = {cell: [] for cell in cells}
    for round_number in range(1, options.rounds + 1):
        for cell, result in measure_round(cells, place):
            results[cell].append(result)
            report(f"round {round_number}", cell, result)
    for scenario, engine in cells:
        if scenario == "recovery":  # made once, started several times
            for result in measure.measured(measure.measure_recovery, place, engine_named(engine),
                                           options.rounds):
                results[scenario, engine].append(result)
                report("recovery", (scenario, engine), result)
    return results


def run(options, cells):
    """The whole storage part. Gives the exit code."""
    machine = f"{describe_machine(options)}, {options.rounds} rounds"
    needs_database = any(engine.startswith("mysql") for _, engine in cells)
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="pulse-bench-",
                                                               dir=options.data_dir))
        folder = pathlib.Path(name)
        disk = describe_disk(folder)
        print(f"{machine}\n{disk}\n", flush=True)
        database = start_database(options, folder / "mariadb", stack) if needs_database else None
        results = measure_all(cells, options, measure.Place(options, folder, database))
    rows = Rows(results)
    print_tables(rows, options.scale)
    every_run = [result for found in results.values() for result in found]
    others = statistics.mean([result.get("others_busy", 0) for result in every_run])
    if others > OTHERS_MAX:
        print(f"caution: other programs took {100 * others:.0f} % of these cores: "
              "trust CPU, RSS and bytes, not rates and latencies")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({
            "machine": machine,
            "disk": disk,
            "runs": {cell_name(*cell): runs for cell, runs in results.items()},
            "verdicts": [requirement.line(rows) for requirement in REQUIREMENTS
                         if rows.has(*requirement.cell)],
        }, indent=1) + "\n")
    return 0 if all(result["ok"] for result in every_run) else 1
