//! The node's own address, through the TAP toward its kernel.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use cluster_tests::admin::AdminClient;
use cluster_tests::rack::{ADMIN, Driver, NODE_ADDRESS};
use cluster_tests::wait;
use std::net::SocketAddrV4;
use support::{IN_TIME, get, ping, pool_client, set, smart};

#[test]
fn the_node_answers_at_its_own_address() {
    for driver in [Driver::AfXdp, Driver::AfPacket] {
        let rack = smart(driver, 2).configure(|config| {
            config.dataplane.host_interface = Some("ss0".to_owned());
            config.admin.listen = format!("0.0.0.0:{}", ADMIN.port());
        });
        let rack = rack.build().unwrap();
        ping(rack.client(0), &NODE_ADDRESS.to_string());
        ping(rack.switch_host(), &rack.client(1).address.to_string());

        let through_the_rack = SocketAddrV4::new(NODE_ADDRESS, ADMIN.port());
        let admin = AdminClient::new(rack.client(1).clone(), through_the_rack);
        let health = wait::until("health over the TAP", IN_TIME, || admin.get("/healthz").ok()).unwrap();
        assert_eq!(health, rack.admin().get("/healthz").unwrap());
        assert!(admin.status().unwrap().is_object());

        // A full frame each way, and the pool beside it.
        let full = ["-c", "3", "-i", "0.02", "-W", "2", "-M", "do", "-s", "1472", "10.77.0.254"];
        rack.client(0).exec("ping", &full).unwrap();
        rack.client(0).run(|| {
            let mut udp = pool_client(&rack);
            set(&mut udp, "k", b"v");
            assert_eq!(get(&mut udp, "k"), Some(b"v".to_vec()));
        });
        let status = rack.stop_switch().unwrap().unwrap();
        assert!(status.success(), "SIGTERM drains: {status}");
    }
}
