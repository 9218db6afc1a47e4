"""The brokers and settings whose storage is compared, and what each of them promises."""

import getpass

from harness import Broker, free_port

RECOVERY_TIMEOUT_S = 300
# No limit that a benchmark of offline sessions would meet.
PULSE_LIMITS = """\
limits:
  max_offline_queue_len: 4000000000
  max_offline_queue_bytes: 1024GiB
  max_retained_messages: 4000000000
  max_retained_payload_bytes: 1024GiB
observability:
  log: warning
"""
MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
max_queued_messages 0
log_dest none
log_type none
user {user}
"""


class Engine:
    """`count`: messages of each of 50 publishers in a store, which bounds time and memory."""

    def __init__(self, name, kind, settings, count, promise, keeps=None):
        self.name, self.kind, self.settings, self.count = name, kind, settings, count
        self.promise = promise
        # Must everything acknowledged survive kill -9? None: nothing does, so it isn't tried.
        self.keeps = keeps

    @property
    def is_mosquitto(self):
        return self.kind == "mosquitto"


STRICT = "acknowledged when written and synced: kill -9 and power loss cost nothing acknowledged"
BALANCED = ("acknowledged when written, synced within 100 ms: kill -9 costs nothing, power loss "
            "the last 100 ms")
FAST = ("acknowledged when handed to the writer: kill -9 and power loss cost what is on its way to "
        "the disk")
DATABASE = ("acknowledged when committed: kill -9 costs nothing; power loss is the server's "
            "affair, and costs nothing here: innodb_flush_log_at_trx_commit=1")
NOTHING = "nothing outlives the process"

ENGINES = [
    Engine("memory", "memory", None, 20000, NOTHING),
    Engine("wal-strict", "wal", "strict", 20000, STRICT, keeps=True),
    Engine("wal-balanced", "wal", "balanced", 20000, BALANCED, keeps=True),
    Engine("wal-fast", "wal", "fast", 20000, FAST, keeps=False),
    Engine("sqlite-strict", "sqlite", "strict", 3000, STRICT, keeps=True),
    Engine("sqlite-balanced", "sqlite", "balanced", 3000, BALANCED, keeps=True),
    Engine("mysql-strict", "mysql", "strict", 1500, STRICT, keeps=True),
    Engine("mysql-balanced", "mysql", "balanced", 1500, DATABASE, keeps=True),
    Engine("mosquitto", "mosquitto", "persistence false\n", 4000, NOTHING),
    Engine("mosquitto-1s", "mosquitto",
           "persistence true\nautosave_interval 1\n", 4000,
           "acknowledged at once; the whole state is written and synced every second: kill -9 and "
           "power loss cost what came since the last save began", keeps=False),
    Engine("mosquitto-1000", "mosquitto",
           "persistence true\nautosave_on_changes true\nautosave_interval 1000\n", 400,
           "acknowledged at once; the whole state is written and synced after every 1,000 changes: "
           "kill -9 and power loss cost up to 1,000 messages; the more is kept the slower",
           keeps=False),
]


def engine_named(name):
    return next(engine for engine in ENGINES if engine.name == name)


def pulse_command(engine, port, http_port, options, folder, url):
    """Gives command and environment."""
    config = folder / "pulse.yaml"
    config.write_text(PULSE_LIMITS)
    command = [options.pulse, "-c", str(config), "--bind", f"127.0.0.1:{port}",
               "--worker-threads", "1", "--metrics-bind", f"127.0.0.1:{http_port}"]
    if engine.kind != "memory":
        command += ["--storage-engine", engine.kind, "--storage-commit-policy", engine.settings]
    if engine.kind == "wal":
        command += ["--wal-dir", str(folder / "wal")]
    if engine.kind == "sqlite":
        command += ["--sqlite", str(folder / "pulse.db")]
    # A URL with a password has no business on a command line.
    return command, {"PULSE_STORAGE_MYSQL": url} if engine.kind == "mysql" else {}


def engine_broker(engine, options, folder, url):
    """A broker with this engine, its data in `folder`, for a `with` block."""
    port, cores = free_port(), {options.cores[0]}
    if engine.is_mosquitto:
        config = folder / "mosquitto.conf"
        config.write_text(MOSQUITTO.format(port=port, user=getpass.getuser()) + engine.settings +
                          f"persistence_location {folder}/\n")
        command = [options.mosquitto, "-c", str(config)]
        return Broker(engine.name, command, port, cores, folder)
    http_port = free_port()
    command, environment = pulse_command(engine, port, http_port, options, folder, url)
    return Broker(engine.name, command, port, cores, folder, http_port=http_port,
                  environment=environment, timeout_s=RECOVERY_TIMEOUT_S)
