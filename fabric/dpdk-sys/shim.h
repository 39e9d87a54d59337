/* What bindgen reads: the DPDK headers, and plain functions for what DPDK has only as static inline functions
 * and macros. */
#ifndef FABRIC_DPDK_SHIM_H
#define FABRIC_DPDK_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

/* Macros with casts, which bindgen cannot evaluate. */
static const uint64_t FABRIC_TX_FAST_FREE = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
static const uint64_t FABRIC_RX_IPV4_CHECKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t FABRIC_RX_UDP_CHECKSUM = RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
static const uint64_t FABRIC_RX_TCP_CHECKSUM = RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
static const uint64_t FABRIC_TX_IPV4_CHECKSUM = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
static const uint64_t FABRIC_TX_UDP_CHECKSUM = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
static const uint64_t FABRIC_TX_TCP_CHECKSUM = RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
static const uint64_t FABRIC_RSS_HASHES =
	RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_FRAG_IPV4 | RTE_ETH_RSS_FRAG_IPV6;

/* Where the fields of an mbuf are that the wrapper reads in place. Their nesting in unions changes between
 * releases of DPDK; their widths do not. */
#define FABRIC_FIELD(name, field, bytes) \
	_Static_assert(sizeof(((struct rte_mbuf *)0)->field) == (bytes), #field " has another width"); \
	static const size_t name = offsetof(struct rte_mbuf, field)
FABRIC_FIELD(FABRIC_MBUF_BUF_ADDR, buf_addr, sizeof(void *));
FABRIC_FIELD(FABRIC_MBUF_BUF_LEN, buf_len, 2);
FABRIC_FIELD(FABRIC_MBUF_DATA_OFF, data_off, 2);
FABRIC_FIELD(FABRIC_MBUF_DATA_LEN, data_len, 2);
FABRIC_FIELD(FABRIC_MBUF_PKT_LEN, pkt_len, 4);
FABRIC_FIELD(FABRIC_MBUF_PORT, port, 2);
#undef FABRIC_FIELD

/* Receives at most `room` packets into `into` and says in each that it came in by `ingress`. Every packet handed
 * out is one segment: what came in several is linearized, or freed and added to `*dropped` if it does not fit. */
uint16_t fabric_receive(uint16_t port, uint16_t queue, uint16_t ingress, struct rte_mbuf **into, uint16_t room,
			uint64_t *dropped);

/* Sends `count` packets and frees what the port does not take; returns how many those were. */
uint16_t fabric_transmit(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t count);

/* Moves the packets that are not of `pool` to the end, the others keep their order; returns how many are of `pool`. */
uint16_t fabric_partition_by_pool(const struct rte_mempool *pool, struct rte_mbuf **packets, uint16_t count);

/* An empty mbuf with one reference, or NULL. */
struct rte_mbuf *fabric_mbuf_alloc(struct rte_mempool *pool);
void fabric_mbuf_free(struct rte_mbuf *mbuf);
/* Puts `tail` behind `head`: 0, or a negative number and both as they were. */
int fabric_mbuf_chain(struct rte_mbuf *head, struct rte_mbuf *tail);
/* Makes `*mbuf` one segment, or frees it, sets it to NULL and returns false. */
bool fabric_mbuf_linearize(struct rte_mbuf **mbuf);

struct fabric_link {
	/* Mbit/s; UINT32_MAX if unknown. */
	uint32_t speed;
	bool up;
};
/* 0, or a negative errno. Does not wait for the link. */
int fabric_link_get(uint16_t port, struct fabric_link *link);

/* UINT32_MAX in a thread that is not registered. */
uint32_t fabric_lcore_id(void);
uint64_t fabric_rdtsc(void);
int fabric_errno(void);

#endif
