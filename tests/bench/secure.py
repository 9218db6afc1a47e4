"""What the secure rows of the table need: certificates, users with hashes, access rules, and the
settings of each broker for them; and how such a row is judged."""

import base64
import hashlib
import subprocess

from harness import free_port

KINDS = {"rsa": ["-newkey", "rsa:2048"],
         "ecdsa": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]}
USERS = 1000
PASSWORD = "correct horse battery staple"
# Of Mosquitto's $7$ format, which both brokers read. About 5 to 10 ms each: many times Mosquitto's
# own 101, and few enough that a thousand logins end.
ITERATIONS = 20000
RULES = 10000


class Secrets:
    """Files in `folder`, made when they are first asked for."""

    def __init__(self, folder):
        self.folder = folder

    def certificate(self, kind):
        """Gives (certificate, key)."""
        certificate, key = self.folder / f"{kind}.pem", self.folder / f"{kind}.key"
        if not certificate.exists():
            subprocess.run(["openssl", "req", "-x509", *KINDS[kind], "-nodes", "-days", "30",
                            "-subj", "/CN=localhost", "-keyout", str(key), "-out",
                            str(certificate)], check=True, capture_output=True)
            key.chmod(0o644)  # a broker that drops its privileges reads it too
        return certificate, key

    def password_file(self):
        """All have the same salt and hash: a thousand of them would take longer than the run."""
        path = self.folder / "passwords"
        if not path.exists():
            salt = b"0123456789ab"
            digest = hashlib.pbkdf2_hmac("sha512", PASSWORD.encode(), salt, ITERATIONS)
            salt, digest = (base64.b64encode(part).decode() for part in (salt, digest))
            entry = f"$7${ITERATIONS}${salt}${digest}"
            path.write_text("".join(f"u{number}:{entry}\n" for number in range(USERS)))
            path.chmod(0o644)
        return path


def rules():
    """Filters that concern everybody and fit none of the benchmark's topics; the last one does."""
    for number in range(RULES - 1):
        yield f"plant/{number}/#" if number % 2 else f"line/+/{number}"
    yield "bench/#"


# ---------------------------------------------------------------------------------------------
# Settings. `setup` is a word of a scenario: tls-rsa, tls-ecdsa, ws, wss, logins, acl.


def mosquitto_lines(setup, port, secrets):
    """Its configuration from the listener on."""
    lines = [f"listener {port} 127.0.0.1"]
    if setup.startswith("tls"):
        certificate, key = secrets.certificate(setup.split("-")[1])
        lines += [f"certfile {certificate}", f"keyfile {key}"]
    if setup == "logins":
        return [*lines, "allow_anonymous false", f"password_file {secrets.password_file()}"]
    if setup == "acl":
        path = secrets.folder / "mosquitto.acl"
        path.write_text("".join(f"topic readwrite {rule}\n" for rule in rules()))
        path.chmod(0o644)
        lines.append(f"acl_file {path}")
    return [*lines, "allow_anonymous true"]


def pulse_settings(setup, port, secrets):
    """(flags, YAML): where the flags don't bind `port`, a listener does."""
    if setup == "logins":
        return ["--bind", f"127.0.0.1:{port}"], (
            f"auth:\n  enabled: true\n  password_file: {secrets.password_file()}\n  acl:\n"
            "  - permission: allow\n    topic_filter: \"#\"\n")
    if setup == "acl":
        entries = "".join(f"  - permission: allow\n    topic_filter: \"{rule}\"\n"
                          for rule in rules())
        return ["--bind", f"127.0.0.1:{port}"], (
            f"auth:\n  enabled: true\n  allow_anonymous: true\n  acl:\n{entries}")
    listener = f"listeners:\n- bind: 127.0.0.1:{port}\n"
    if setup in ("ws", "wss"):
        listener += "  protocol: ws\n"
    if setup != "ws":
        kind = setup.split("-")[1] if "-" in setup else "rsa"
        certificate, key = secrets.certificate(kind)
        listener += f"  tls: true\n  certificate_chain: {certificate}\n  private_key: {key}\n"
    return ["--bind", f"127.0.0.1:{free_port()}"], listener


def login_arguments(setup):
    return ["--username", "u%u", "--password", PASSWORD] if setup == "logins" else []


def openssl_command(bench, scenario, seconds, secrets):
    """OpenSSL alone, for a row that measures handshakes."""
    certificate, key = secrets.certificate(scenario.setup.split("-")[1])
    same = [word for word in scenario.arguments if word in ("--resume", "--tls-1.2")]
    return [bench, "handshake", *same, "--certificate", str(certificate), "--private-key",
            str(key), "--duration", str(seconds), "--json"]


# ---------------------------------------------------------------------------------------------
# Judging. Each gives (value, text), or (None, reason).


def cost(row):
    return (row or {}).get("broker_cpu_us_per_unit") or 0


def times_base(scenario, broker, rows):
    """CPU of a unit, as a multiple of the row that does the same without."""
    base = cost(rows.get((scenario.base, broker)))
    own = cost(rows.get((scenario.name, broker)))
    return (own / base, f"{own / base:.2f} x {scenario.base}") if base and own else (None, "")


def above_base(name, base, broker, rows):
    """What a handshake costs: a connect with it, less one without. 0: not known."""
    own, without = cost(rows.get((name, broker))), cost(rows.get((base, broker)))
    return max(0, own - without) if own and without else 0


def handshake(scenario, broker, rows):
    own = above_base(scenario.name, scenario.base, broker, rows)
    alone = cost(rows.get((scenario.name, "openssl")))
    if not own or not alone:
        return None, ""
    return own / alone, f"handshake {own:.0f} us, {own / alone:.2f} x OpenSSL alone"


def resumption(scenario, broker, rows):
    """How many times cheaper than a full one, the other way round: less is better, as elsewhere."""
    own = above_base(scenario.name, scenario.base, broker, rows)
    full = above_base(scenario.full, scenario.base, broker, rows)
    if not own or not full:
        return None, ""
    return own / full, f"handshake {own:.0f} us, {full / own:.1f} x cheaper than {scenario.full}"


def crowd(scenario, broker, rows):
    row = rows.get((scenario.name, broker)) or {}
    if not row.get("p99_us") or not row.get("crowd_p99_us"):
        return None, ""
    value = row["crowd_p99_us"] / row["p99_us"]
    return value, (f"while {row['crowd_connects']:,.0f} connect in {row['crowd_seconds']:.1f} s: "
                   f"p50 {row['crowd_p50_us']:,.0f} us, p99 {row['crowd_p99_us']:,.0f} us: "
                   f"{value:.1f} x")


JUDGES = {"times": times_base, "handshake": handshake, "resumption": resumption, "crowd": crowd}
