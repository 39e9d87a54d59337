//! Any frame: no parser panics, what is read lies inside, and the fast path agrees with the slow one.
#![no_main]

use fabric::packet::udp4::{Udp4, turn_around};
use fabric::packet::{Headers, Network, Sum, Transport, arp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    let fast = Udp4::parse(frame);
    let slow = Headers::parse(frame);
    if let Ok(headers) = &slow {
        check(frame, headers);
    }
    let Some(fast) = fast else { return };
    let Ok(Headers { network: Network::Ipv4(ipv4), transport: Transport::Udp(udp), vlan, .. }) = slow else {
        panic!("only the fast path takes this: {slow:?}");
    };
    assert_eq!((fast.src, fast.dst, fast.vlan), (ipv4.src.into(), ipv4.dst.into(), vlan.unwrap_or(0)));
    assert_eq!((fast.src_port, fast.dst_port), (udp.src_port, udp.dst_port));
    assert_eq!(fast.payload..fast.end, udp.payload);

    let mut answer = frame.to_vec();
    let payload = &frame[fast.payload..fast.end];
    turn_around(&mut answer, &fast, payload.len(), Sum::of(payload));
    let read = Udp4::parse(&answer).expect("an answer is as plain as its request");
    assert!(read.checksums_ok(&answer));
    assert_eq!((read.src, read.dst, read.end), (fast.dst, fast.src, fast.end));
});

fn check(frame: &[u8], headers: &Headers) {
    if let Some(payload) = headers.ip_payload() {
        let _ = &frame[payload];
    }
    match &headers.transport {
        Transport::Udp(udp) => assert!(frame.get(udp.payload.clone()).is_some()),
        Transport::Tcp(tcp) => assert!(frame.get(tcp.payload.clone()).is_some()),
        Transport::Fragment | Transport::Other => {}
    }
    headers.transport_checksum_ok(frame);
    if let Network::Arp(request) = &headers.network {
        arp::reply_in_place(&mut frame.to_vec(), headers.l3_offset, request, request.target_mac);
    }
}
