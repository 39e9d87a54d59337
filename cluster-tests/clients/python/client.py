#!/usr/bin/python3
"""pymemcache's operations against the server at MEMCACHED_ADDRESS."""

import os
import sys
import time

from pymemcache.client.base import Client, PooledClient

LARGE = bytes(range(256)) * 400


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: expected {wanted!r:.100}, got {got!r:.100}")


def storage(client):
    expect("get of nothing", client.get("py"), None)
    expect("set", client.set("py", "b"), True)
    expect("get", client.get("py"), b"b")
    expect("add to something", client.add("py", "no"), False)
    expect("add", client.add("py-add", "new"), True)
    expect("replace", client.replace("py", "c"), True)
    expect("replace of nothing", client.replace("py-none", "no"), False)
    expect("append", client.append("py", "d"), True)
    expect("prepend", client.prepend("py", "b"), True)
    expect("get of what was put together", client.get("py"), b"bcd")
    expect("append to nothing", client.append("py-none", "no"), False)
    expect("set of a large value", client.set("py-large", LARGE), True)
    expect("get of a large value", client.get("py-large"), LARGE)
    expect("set of an empty value", client.set("py-empty", b""), True)
    expect("get of an empty value", client.get("py-empty"), b"")
    expect("set without a reply", client.set("py-quiet", "q", noreply=True), True)
    expect("get of it", client.get("py-quiet"), b"q")


def many(client):
    items = {f"py-{number}": str(number).encode() for number in range(100)}
    expect("set_many", client.set_many(items), [])
    expect("get_many", client.get_many([*items, "py-none"]), items)
    expect("delete_many", client.delete_many(list(items)), True)
    expect("get_many of nothing", client.get_many(list(items)), {})


def compare_and_swap(client):
    client.set("py-cas", "a")
    value, unique = client.gets("py-cas")
    expect("gets", value, b"a")
    expect("cas", client.cas("py-cas", "b", unique), True)
    expect("cas of a change", client.cas("py-cas", "no", unique), False)
    expect("cas of nothing", client.cas("py-none", "no", unique), None)
    expect("gets_many", client.gets_many(["py-cas"])["py-cas"][0], b"b")


def numbers(client):
    client.set("py-number", "9")
    expect("incr", client.incr("py-number", 3), 12)
    expect("decr", client.decr("py-number", 2), 10)
    expect("decr below 0", client.decr("py-number", 100), 0)
    expect("incr of nothing", client.incr("py-none", 1), None)


def lifetime(client):
    client.set("py-life", "x")
    expect("touch of nothing", client.touch("py-none", 1), False)
    expect("touch", client.touch("py-life", 1), True)
    deadline = time.monotonic() + 10
    while client.get("py-life") is not None:
        if time.monotonic() > deadline:
            sys.exit("touch: the item outlived its second by nine")
        time.sleep(0.05)
    client.set("py-life", "x")
    expect("delete", client.delete("py-life"), True)
    expect("delete of nothing", client.delete("py-life"), False)


def whole_server(client):
    client.set("py-flush", "x")
    expect("flush_all", client.flush_all(), True)
    expect("get after flush_all", client.get("py-flush"), None)
    expect("version", bool(client.version()), True)
    expect("stats", b"cmd_get" in client.stats(), True)


def main():
    host, port = os.environ["MEMCACHED_ADDRESS"].rsplit(":", 1)
    settings = {"default_noreply": False, "connect_timeout": 5, "timeout": 5, "no_delay": True}
    for kind in (Client, PooledClient):
        client = kind((host, int(port)), **settings)
        for part in (storage, many, compare_and_swap, numbers, lifetime, whole_server):
            part(client)
        client.close()


main()
