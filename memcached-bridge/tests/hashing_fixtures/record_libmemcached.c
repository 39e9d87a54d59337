/* Records where libmemcached puts keys. In this directory:
 *   cc record_libmemcached.c -lmemcached -o /tmp/record && /tmp/record
 * Asks the library for the server of every key of keys.txt; connects to nothing. Writes one file per ring. */
#include <libmemcached/memcached.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct member {
    const char *host;
    in_port_t port;
    uint32_t weight;
};

static const struct member even[] = {
    {"10.0.0.1", 11211, 1}, {"10.0.0.2", 11211, 1}, {"10.0.0.3", 11212, 1}, {"cache.example.org", 11300, 1},
    {"127.0.0.1", 31821, 1}, {0}};
static const struct member uneven[] = {
    {"10.0.0.1", 11211, 1}, {"10.0.0.2", 11212, 2}, {"10.0.0.3", 11213, 3}, {"10.0.0.4", 11214, 5},
    {"10.0.0.5", 11215, 10}, {"10.0.0.6", 11216, 60}, {"10.0.0.7", 11217, 59}, {0}};

/* So many that 32-bit floats round each share down by a whole digest. */
static struct member many[26];

static void check(memcached_st *memc, memcached_return_t rc, const char *what) {
    if (memcached_failed(rc)) {
        fprintf(stderr, "%s: %s\n", what, memcached_strerror(memc, rc));
        exit(1);
    }
}

static void record(const char *file, const char *distribution, const char *hash, const struct member *members,
                   memcached_behavior_t ketama, memcached_server_distribution_t fixed, memcached_hash_t key_hash) {
    memcached_st *memc = memcached_create(NULL);
    if (fixed != MEMCACHED_DISTRIBUTION_CONSISTENT_MAX) {
        check(memc, memcached_behavior_set_distribution(memc, fixed), "distribution");
    } else {
        check(memc, memcached_behavior_set(memc, ketama, 1), "ketama");
    }
    if (key_hash != MEMCACHED_HASH_MAX) {
        check(memc, memcached_behavior_set(memc, MEMCACHED_BEHAVIOR_HASH, key_hash), "hash");
    }
    FILE *out = fopen(file, "w");
    FILE *keys = fopen("keys.txt", "r");
    fprintf(out, "# %s %s -\n", distribution, hash);
    for (const struct member *m = members; m->host; m++) {
        check(memc, memcached_server_add_with_weight(memc, m->host, m->port, m->weight), "server");
        fprintf(out, "# %s:%u %u alive\n", m->host, m->port, m->weight);
    }
    char key[512];
    while (fgets(key, sizeof key, keys)) {
        key[strcspn(key, "\n")] = 0;
        const struct member *m = &members[memcached_generate_hash(memc, key, strlen(key))];
        fprintf(out, "%s\t%s:%u\n", key, m->host, m->port);
    }
    fclose(out);
    fclose(keys);
    memcached_free(memc);
}

int main(void) {
    const memcached_server_distribution_t by_behavior = MEMCACHED_DISTRIBUTION_CONSISTENT_MAX;
    const memcached_hash_t as_is = MEMCACHED_HASH_MAX;
    record("libmemcached_weighted_even.txt", "ketama_libmemcached", "md5", even,
           MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, by_behavior, as_is);
    record("libmemcached_weighted_uneven.txt", "ketama_libmemcached", "md5", uneven,
           MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, by_behavior, as_is);
    static char hosts[25][16];
    for (int n = 0; n < 25; n++) {
        snprintf(hosts[n], sizeof hosts[n], "10.0.1.%d", n);
        many[n] = (struct member){hosts[n], 11212, 1};
    }
    record("libmemcached_weighted_many.txt", "ketama_libmemcached", "md5", many,
           MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, by_behavior, as_is);
    record("libmemcached_weighted_fnv1a_32.txt", "ketama_libmemcached", "fnv1a_32", uneven,
           MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, by_behavior, MEMCACHED_HASH_FNV1A_32);
    record("libmemcached_unweighted_default.txt", "ketama_libmemcached_unweighted", "one_at_a_time", even,
           MEMCACHED_BEHAVIOR_KETAMA, by_behavior, as_is);
    record("libmemcached_unweighted_md5.txt", "ketama_libmemcached_unweighted", "md5", even,
           MEMCACHED_BEHAVIOR_KETAMA, by_behavior, MEMCACHED_HASH_MD5);
    record("libmemcached_unweighted_crc32.txt", "ketama_libmemcached_unweighted", "crc32", even,
           MEMCACHED_BEHAVIOR_KETAMA, MEMCACHED_DISTRIBUTION_CONSISTENT_KETAMA, MEMCACHED_HASH_CRC);
    record("libmemcached_modula_jenkins.txt", "modula", "jenkins", even, MEMCACHED_BEHAVIOR_KETAMA,
           MEMCACHED_DISTRIBUTION_MODULA, MEMCACHED_HASH_JENKINS);
    return 0;
}
