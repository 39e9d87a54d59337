#!/usr/bin/env python3
"""Records where twemproxy puts keys: `python3 record_twemproxy.py`, in this directory.

Needs `memcached` and `nutcracker` in the path, and the ports below free on the loopback. Sets every key of keys.txt
through a pool, then asks each server which of them it has. Writes one file per pool.
"""
import os
import shutil
import socket
import subprocess
import tempfile
import time

HASHES = ("one_at_a_time md5 crc16 crc32 crc32a fnv1_64 fnv1a_64 fnv1_32 fnv1a_32 hsieh murmur jenkins").split()
SERVERS = [("127.0.0.1", 31821 + n) for n in range(5)] + [("127.0.0.9", 11211)]
NOBODY = ("127.0.0.1", 31839)
FIVE = [(server, 1, None) for server in SERVERS[:5]]
UNEVEN = [(server, weight, None) for server, weight in zip(SERVERS[:5], (1, 2, 3, 5, 10))]
# Shares that 32-bit floats round down by a whole digest.
ROUNDED = [(server, weight, None) for server, weight in zip(SERVERS[:5], (1, 1, 1, 11, 11))]
ALIASED = [(server, weight, f"cache-{n}") for n, (server, weight) in enumerate(zip(SERVERS[:4], (1, 1, 3, 1)))]

POOLS = [(f"ketama_{name}", "ketama", name, None, FIVE, None) for name in HASHES]
POOLS += [
    ("ketama_weights", "ketama", "fnv1a_64", None, UNEVEN, None),
    ("ketama_rounding", "ketama", "fnv1a_64", None, ROUNDED, None),
    ("ketama_aliases", "ketama", "murmur", None, ALIASED, None),
    ("ketama_default_port", "ketama", "fnv1a_64", None, [(server, 1, None) for server in SERVERS[3:]], None),
    ("ketama_tag", "ketama", "fnv1a_64", "{}", FIVE, None),
    ("ketama_dead", "ketama", "fnv1a_64", None, UNEVEN[:3] + [(NOBODY, 4, None)] + UNEVEN[4:], NOBODY),
    ("modula", "modula", "fnv1a_64", None, FIVE, None),
    ("modula_weights", "modula", "md5", None, UNEVEN, None),
    ("modula_dead", "modula", "crc32a", None, FIVE[:2] + [(NOBODY, 2, None)] + FIVE[3:], NOBODY),
]


def ask(address, request, last):
    """Sends `request` and reads until the reply ends with `last`."""
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(request)
        reply = b""
        while not reply.endswith(last):
            part = connection.recv(65536)
            if not part:
                break
            reply += part
        return reply


def wait_for(address):
    for _ in range(100):
        try:
            socket.create_connection(address, timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"{address} does not listen")


def config():
    lines = []
    for index, (name, distribution, key_hash, tag, members, dead) in enumerate(POOLS):
        lines += [f"{name}:", f"  listen: 127.0.0.1:{31850 + index}", f"  hash: {key_hash}"]
        lines += [f"  distribution: {distribution}", "  timeout: 2000"]
        lines += [f'  hash_tag: "{tag}"'] if tag else []
        if dead:
            lines += ["  auto_eject_hosts: true", "  server_failure_limit: 1", "  server_retry_timeout: 600000"]
        lines += ["  servers:"]
        for (host, port), weight, alias in members:
            lines.append(f"   - {host}:{port}:{weight}" + (f" {alias}" if alias else ""))
    return "\n".join(lines) + "\n"


def record(index, keys):
    name, distribution, key_hash, tag, members, dead = POOLS[index]
    proxy = ("127.0.0.1", 31850 + index)
    # What is set before a dead member is ejected is lost; so the first round only ejects.
    for _ in range(2 if dead else 1):
        for server in SERVERS:
            ask(server, b"flush_all\r\n", b"\r\n")
        for key in keys:
            ask(proxy, b"set %s 0 0 1\r\nx\r\n" % key, b"\r\n")
    owner = {}
    for (address, _, alias) in members:
        if address == dead:
            continue
        for key in keys:
            if ask(address, b"get %s\r\n" % key, b"END\r\n").startswith(b"VALUE"):
                assert key not in owner, key
                owner[key] = alias or "%s:%d" % address
    assert len(owner) == len(keys), (name, len(owner))
    with open(f"twemproxy_{name}.txt", "wb") as out:
        out.write(f"# {distribution} {key_hash} {tag or '-'}\n".encode())
        for address, weight, alias in members:
            state = "dead" if address == dead else "alive"
            out.write(f"# {alias or '%s:%d' % address} {weight} {state}\n".encode())
        for key in keys:
            out.write(key + b"\t" + owner[key].encode() + b"\n")


def main():
    keys = open("keys.txt", "rb").read().splitlines()
    children = []
    work = tempfile.mkdtemp()
    try:
        for host, port in SERVERS:
            children.append(subprocess.Popen(["memcached", "-u", "nobody", "-l", host, "-p", str(port), "-t", "1"]))
        for server in SERVERS:
            wait_for(server)
        with open(os.path.join(work, "pools.yml"), "w") as file:
            file.write(config())
        command = ["nutcracker", "-c", os.path.join(work, "pools.yml"), "-s", "31849", "-a", "127.0.0.1"]
        children.append(subprocess.Popen(command + ["-o", os.path.join(work, "log")]))
        wait_for(("127.0.0.1", 31850))
        for index in range(len(POOLS)):
            record(index, keys)
    finally:
        for child in children:
            child.terminate()
        shutil.rmtree(work)


main()
