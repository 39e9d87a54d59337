// gomemcache's operations against the server at MEMCACHED_ADDRESS.
package main

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

func expect(what string, got, wanted any) {
	if got != wanted {
		fmt.Fprintf(os.Stderr, "%s: expected %.100v, got %.100v\n", what, wanted, got)
		os.Exit(1)
	}
}

func item(key, value string) *memcache.Item {
	return &memcache.Item{Key: key, Value: []byte(value), Flags: 7}
}

func expectItem(what string, client *memcache.Client, key, value string) {
	got, err := client.Get(key)
	expect(what, err, nil)
	expect(what, string(got.Value), value)
	expect(what+": flags", got.Flags, uint32(7))
}

func storage(client *memcache.Client) {
	_, err := client.Get("go")
	expect("get of nothing", err, memcache.ErrCacheMiss)
	expect("set", client.Set(item("go", "b")), nil)
	expectItem("get", client, "go", "b")
	expect("add to something", client.Add(item("go", "no")), memcache.ErrNotStored)
	expect("add", client.Add(item("go-add", "new")), nil)
	expect("replace", client.Replace(item("go", "c")), nil)
	expect("replace of nothing", client.Replace(item("go-none", "no")), memcache.ErrNotStored)
	expectItem("get after replace", client, "go", "c")
	large := string(bytes.Repeat([]byte("0123456789abcdef"), 6000))
	expect("set of a large value", client.Set(item("go-large", large)), nil)
	expectItem("get of a large value", client, "go-large", large)
}

func many(client *memcache.Client) {
	var keys []string
	var group sync.WaitGroup
	for number := 0; number < 100; number++ {
		keys = append(keys, fmt.Sprintf("go-%d", number))
		group.Add(1)
		// On connections of their own.
		go func(key string) {
			defer group.Done()
			expect("set", client.Set(item(key, "value of "+key)), nil)
		}(keys[number])
	}
	group.Wait()
	found, err := client.GetMulti(append(keys, "go-none"))
	expect("get of several", err, nil)
	expect("get of several: found", len(found), len(keys))
	for _, key := range keys {
		expect("get of several: "+key, string(found[key].Value), "value of "+key)
	}
}

func compareAndSwap(client *memcache.Client) {
	expect("set", client.Set(item("go-cas", "a")), nil)
	seen, err := client.Get("go-cas")
	expect("get", err, nil)
	seen.Value = []byte("b")
	expect("cas", client.CompareAndSwap(seen), nil)
	expect("cas of a change", client.CompareAndSwap(seen), memcache.ErrCASConflict)
	expectItem("get after cas", client, "go-cas", "b")
}

func numbers(client *memcache.Client) {
	number := func(what string, wanted uint64) func(uint64, error) {
		return func(got uint64, err error) {
			expect(what, err, nil)
			expect(what, got, wanted)
		}
	}
	expect("set", client.Set(item("go-number", "9")), nil)
	number("incr", 12)(client.Increment("go-number", 3))
	number("decr", 10)(client.Decrement("go-number", 2))
	number("decr below 0", 0)(client.Decrement("go-number", 100))
	_, err := client.Increment("go-none", 1)
	expect("incr of nothing", err, memcache.ErrCacheMiss)
}

func lifetime(client *memcache.Client) {
	expect("set", client.Set(item("go-life", "x")), nil)
	expect("touch", client.Touch("go-life", 1), nil)
	expect("touch of nothing", client.Touch("go-none", 1), memcache.ErrCacheMiss)
	deadline := time.Now().Add(10 * time.Second)
	for _, err := client.Get("go-life"); err != memcache.ErrCacheMiss; _, err = client.Get("go-life") {
		expect("get while it lives", err, nil)
		expect("touch: the item is gone after its second", time.Now().After(deadline), false)
		time.Sleep(50 * time.Millisecond)
	}
	expect("set", client.Set(item("go-life", "x")), nil)
	expect("delete", client.Delete("go-life"), nil)
	expect("delete of nothing", client.Delete("go-life"), memcache.ErrCacheMiss)
}

func wholeServer(client *memcache.Client) {
	expect("set", client.Set(item("go-flush", "x")), nil)
	expect("flush", client.FlushAll(), nil)
	_, err := client.Get("go-flush")
	expect("get after flush", err, memcache.ErrCacheMiss)
}

func main() {
	client := memcache.New(os.Getenv("MEMCACHED_ADDRESS"))
	client.Timeout = 5 * time.Second
	storage(client)
	many(client)
	compareAndSwap(client)
	numbers(client)
	lifetime(client)
	wholeServer(client)
}
