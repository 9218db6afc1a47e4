"""A private MariaDB server: its data below a folder of ours, on a loopback port of its own."""

import getpass
import pathlib
import subprocess

from harness import Process, free_port

PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb")
START_TIMEOUT_S = 60
BUFFER_POOL = "256M"
LOG_SIZE = "128M"


class Database(Process):
    """InnoDB as it comes, but for the sizes of its buffers: every commit is synced before it counts
    (innodb_flush_log_at_trx_commit=1), pages are written twice (doublewrite)."""

    def __init__(self, programs, cores, folder):
        self.programs, self.port = programs, free_port()
        self.data, self.socket = folder / "data", folder / "s.sock"
        # A server that is started by root has to be told so.
        self.user = ["--user=root"] if getpass.getuser() == "root" else []
        command = [programs["mariadbd"], "--no-defaults", f"--datadir={self.data}",
                   f"--socket={self.socket}", f"--pid-file={folder / 'pid'}", f"--port={self.port}",
                   "--bind-address=127.0.0.1", "--skip-name-resolve",
                   f"--innodb-buffer-pool-size={BUFFER_POOL}", f"--innodb-log-file-size={LOG_SIZE}",
                   "--max-allowed-packet=64M", *self.user]
        super().__init__("mariadbd", command, cores, folder, timeout_s=START_TIMEOUT_S)

    def start(self):
        if not self.data.exists():
            subprocess.run([self.programs["mariadb-install-db"], "--no-defaults",
                            f"--datadir={self.data}", "--auth-root-authentication-method=normal",
                            "--skip-test-db", "--force", *self.user], check=True, capture_output=True,
                           timeout=START_TIMEOUT_S)
        seconds = super().start()
        self.ask("create user if not exists 'bench'@'127.0.0.1' identified by 'bench'")
        return seconds

    def ask(self, statement):
        return subprocess.run([self.programs["mariadb"], "--no-defaults",
                               f"--socket={self.socket}", "-uroot", "-N", "-e", statement],
                              check=True, capture_output=True, text=True, timeout=60).stdout

    def is_up(self):
        if not pathlib.Path(self.socket).exists():
            return False
        try:
            self.ask("select 1")
            return True
        except subprocess.CalledProcessError:
            return False

    def make(self, name):
        """An empty database of that name; gives its URL."""
        self.ask(f"drop database if exists {name}; create database {name};"
                 f"grant all on {name}.* to 'bench'@'127.0.0.1'")
        return f"mysql://bench:bench@127.0.0.1:{self.port}/{name}"

    def drop(self, name):
        self.ask(f"drop database if exists {name}")
