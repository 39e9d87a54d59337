import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import net.spy.memcached.AddrUtil;
import net.spy.memcached.CASResponse;
import net.spy.memcached.CASValue;
import net.spy.memcached.ConnectionFactoryBuilder;
import net.spy.memcached.ConnectionFactoryBuilder.Protocol;
import net.spy.memcached.MemcachedClient;

/** spymemcached's operations against the server at MEMCACHED_ADDRESS, in the protocol MEMCACHED_PROTOCOL. */
public final class Client {
    private final MemcachedClient client;
    private final Protocol protocol;

    private Client(MemcachedClient client, Protocol protocol) {
        this.client = client;
        this.protocol = protocol;
    }

    public static void main(String[] arguments) throws Exception {
        Protocol protocol =
                "binary".equals(System.getenv("MEMCACHED_PROTOCOL")) ? Protocol.BINARY : Protocol.TEXT;
        var factory = new ConnectionFactoryBuilder().setProtocol(protocol).setOpTimeout(5000).setDaemon(true);
        var client =
                new MemcachedClient(
                        factory.build(), AddrUtil.getAddresses(System.getenv("MEMCACHED_ADDRESS")));
        var all = new Client(client, protocol);
        all.storage();
        all.many();
        all.compareAndSwap();
        all.numbers();
        all.lifetime();
        all.wholeServer();
        client.shutdown();
    }

    private static void expect(String what, Object got, Object wanted) {
        if (!Objects.deepEquals(got, wanted)) {
            System.err.println(what + ": expected " + wanted + ", got " + got);
            System.exit(1);
        }
    }

    private void storage() throws Exception {
        byte[] large = new byte[100_000];
        for (int at = 0; at < large.length; at++) {
            large[at] = (byte) (at * 31 >> 3);
        }
        expect("get of nothing", client.get("java"), null);
        expect("set", client.set("java", 0, "b").get(), true);
        expect("get", client.get("java"), "b");
        expect("add to something", client.add("java", 0, "no").get(), false);
        expect("add", client.add("java-add", 0, "new").get(), true);
        expect("replace", client.replace("java", 0, "c").get(), true);
        expect("replace of nothing", client.replace("java-none", 0, "no").get(), false);
        expect("append", client.append("java", "d").get(), true);
        expect("prepend", client.prepend("java", "b").get(), true);
        expect("get of what was put together", client.get("java"), "bcd");
        expect("append to nothing", client.append("java-none", "no").get(), false);
        expect("set of a large value", client.set("java-large", 0, large).get(), true);
        expect("get of a large value", client.get("java-large"), large);
        // Types are in the flags.
        for (Object value : List.of(7, 8L, true, 1.5, List.of("a"))) {
            expect("set of a " + value.getClass(), client.set("java-typed", 0, value).get(), true);
            expect("get of a " + value.getClass(), client.get("java-typed"), value);
        }
    }

    private void many() throws Exception {
        Map<String, Object> items = new HashMap<>();
        for (int number = 0; number < 100; number++) {
            items.put("java-" + number, "value " + number);
            // Many requests under way: they are pipelined.
            client.set("java-" + number, 0, "value " + number);
        }
        String[] keys = items.keySet().toArray(new String[0]);
        String[] more = Arrays.copyOf(keys, keys.length + 1);
        more[keys.length] = "java-none";
        expect("getBulk", client.getBulk(more), items);
        for (String key : keys) {
            expect("delete", client.delete(key).get(), true);
        }
        expect("getBulk of nothing", client.getBulk(keys), Map.of());
    }

    private void compareAndSwap() throws Exception {
        client.set("java-cas", 0, "a").get();
        CASValue<Object> seen = client.gets("java-cas");
        expect("gets", seen.getValue(), "a");
        expect("cas", client.cas("java-cas", seen.getCas(), "b"), CASResponse.OK);
        expect("cas of a change", client.cas("java-cas", seen.getCas(), "no"), CASResponse.EXISTS);
        expect("cas of nothing", client.cas("java-none", seen.getCas(), "no"), CASResponse.NOT_FOUND);
    }

    private void numbers() throws Exception {
        client.set("java-number", 0, "9").get();
        expect("incr", client.incr("java-number", 3), 12L);
        expect("decr", client.decr("java-number", 2), 10L);
        expect("decr below 0", client.decr("java-number", 100), 0L);
        expect("incr of nothing", client.incr("java-none", 1), -1L);
        expect("incr with a first value", client.incr("java-first", 1, 5), 5L);
        expect("incr after it", client.incr("java-first", 1, 5), 6L);
    }

    private void lifetime() throws Exception {
        client.set("java-life", 0, "x").get();
        expect("touch", client.touch("java-life", 1).get(), true);
        expect("touch of nothing", client.touch("java-none", 1).get(), false);
        if (protocol == Protocol.BINARY) {
            expect("getAndTouch", client.getAndTouch("java-life", 1).getValue(), "x");
        }
        long deadline = System.nanoTime() + 10_000_000_000L;
        while (client.get("java-life") != null) {
            expect("touch: the item is gone after its second", System.nanoTime() > deadline, false);
            Thread.sleep(50);
        }
        client.set("java-life", 0, "x").get();
        expect("delete", client.delete("java-life").get(), true);
        expect("delete of nothing", client.delete("java-life").get(), false);
    }

    private void wholeServer() throws Exception {
        client.set("java-flush", 0, "x").get();
        expect("flush", client.flush().get(), true);
        expect("get after flush", client.get("java-flush"), null);
        expect("getVersions", client.getVersions().size(), 1);
        expect("getStats", client.getStats().values().iterator().next().containsKey("cmd_get"), true);
    }
}
