#!/usr/bin/env python3
"""Records what memcached answers: `python3 record.py` in this directory, with `memcached` in the path.

Sends the first column of each line of memcached.txt to an empty memcached on the loopback, each on a connection of
its own, and writes its answer (and `<closed>` if it hung up) as the second column. `\\r`, `\\n`, `\\t`, `\\0`, `\\xNN`
are escapes; `{k*251}` is a repetition.
"""
import re
import socket
import subprocess
import time

ADDRESS = ("127.0.0.1", 31871)


def unescape(text):
    text = re.sub(r"\{(.)\*(\d+)\}", lambda match: match[1] * int(match[2]), text)
    return text.encode().decode("unicode_escape").encode("latin1")


def escape(reply):
    names = {13: "\\r", 10: "\\n", 9: "\\t", 0: "\\0"}
    return "".join(names.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in reply)


def ask(request):
    with socket.create_connection(ADDRESS) as connection:
        connection.sendall(request)
        connection.settimeout(0.1)
        reply = b""
        try:
            while part := connection.recv(65536):
                reply += part
        except TimeoutError:
            return escape(reply)
        except ConnectionError:
            pass
        return escape(reply) + "<closed>"


def main():
    lines = open("memcached.txt").read().splitlines()
    server = subprocess.Popen(["memcached", "-u", "nobody", "-l", ADDRESS[0], "-p", str(ADDRESS[1]), "-t", "1"])
    try:
        for _ in range(100):
            try:
                socket.create_connection(ADDRESS).close()
                break
            except OSError:
                time.sleep(0.05)
        with open("memcached.txt", "w") as out:
            for line in lines:
                if line.startswith("#") or not line:
                    out.write(line + "\n")
                    continue
                request = line.split("\t")[0]
                ask(b"flush_all\r\n")
                out.write(request + "\t" + ask(unescape(request)) + "\n")
    finally:
        server.terminate()


main()
