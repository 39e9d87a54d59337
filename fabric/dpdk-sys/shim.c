#include "shim.h"

#include <rte_branch_prediction.h>
#include <rte_prefetch.h>

bool fabric_mbuf_linearize(struct rte_mbuf **mbuf)
{
	if (rte_pktmbuf_linearize(*mbuf) == 0)
		return true;
	rte_pktmbuf_free(*mbuf);
	*mbuf = NULL;
	return false;
}

uint16_t fabric_receive(uint16_t port, uint16_t queue, uint16_t ingress, struct rte_mbuf **into, uint16_t room,
			uint64_t *dropped)
{
	uint16_t received = rte_eth_rx_burst(port, queue, into, room);
	uint16_t kept = 0;

	for (uint16_t i = 0; i < received; i++) {
		struct rte_mbuf *mbuf = into[i];

		if (unlikely(mbuf->nb_segs != 1) && !fabric_mbuf_linearize(&into[i])) {
			*dropped += 1;
			continue;
		}
		rte_prefetch0(rte_pktmbuf_mtod(mbuf, void *));
		mbuf->port = ingress;
		into[kept++] = mbuf;
	}
	return kept;
}

uint16_t fabric_transmit(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t count)
{
	uint16_t sent = rte_eth_tx_burst(port, queue, packets, count);

	if (unlikely(sent < count))
		rte_pktmbuf_free_bulk(packets + sent, count - sent);
	return count - sent;
}

uint16_t fabric_partition_by_pool(const struct rte_mempool *pool, struct rte_mbuf **packets, uint16_t count)
{
	uint16_t own = 0;

	for (uint16_t i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = packets[i];

		if (mbuf->pool != pool)
			continue;
		packets[i] = packets[own];
		packets[own++] = mbuf;
	}
	return own;
}

struct rte_mbuf *fabric_mbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

void fabric_mbuf_free(struct rte_mbuf *mbuf)
{
	rte_pktmbuf_free(mbuf);
}

int fabric_mbuf_chain(struct rte_mbuf *head, struct rte_mbuf *tail)
{
	return rte_pktmbuf_chain(head, tail);
}

int fabric_link_get(uint16_t port, struct fabric_link *link)
{
	struct rte_eth_link state = {0};
	int result = rte_eth_link_get_nowait(port, &state);

	link->speed = state.link_speed;
	link->up = state.link_status == RTE_ETH_LINK_UP;
	return result;
}

uint32_t fabric_lcore_id(void)
{
	return rte_lcore_id();
}

uint64_t fabric_rdtsc(void)
{
	return rte_rdtsc();
}

int fabric_errno(void)
{
	return rte_errno;
}
