//! `make rack`: a rack to play in, until Ctrl-C.

use cluster_tests::RackError;
use cluster_tests::rack::{ADMIN, Driver, MEMCACHED_PORT, Rack, VIP, smartswitch_binary};
use nix::sys::signal::{SigSet, Signal};
use std::process::ExitCode;

fn main() -> ExitCode {
    let driver = match std::env::args().nth(1).as_deref() {
        None | Some("af_xdp") => Driver::AfXdp,
        Some("af_packet") => Driver::AfPacket,
        Some(other) => {
            eprintln!("rack: no driver is called {other}; rack [af_xdp | af_packet]");
            return ExitCode::FAILURE;
        }
    };
    match stand(driver) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rack: {error}");
            ExitCode::FAILURE
        }
    }
}

fn stand(driver: Driver) -> Result<(), RackError> {
    let rack = Rack::builder("rack").clients(2).servers(2).driver(driver).beside_others().build()?;
    // Only now: children inherit blocked signals, and the switch is to end by one.
    let mut ends = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        ends.add(signal);
    }
    ends.thread_block().map_err(|errno| RackError::io("block signals")(errno.into()))?;
    print!("{}", guide(&rack)?);
    ends.wait().map_err(|errno| RackError::io("wait for a signal")(errno.into()))?;
    println!("taking the rack down");
    rack.stop_switch()?;
    Ok(())
}

fn guide(rack: &Rack) -> Result<String, RackError> {
    let inside = |namespace: &str| format!("ip netns exec {namespace}");
    let (c1, sw) = (inside(&rack.client(0).namespace), inside(&rack.switch_host().namespace));
    let (m1, m1_pid) = (inside(&rack.server(0).host.namespace), rack.server(0).process_id().unwrap_or(0));
    let (vip, port) = (VIP, MEMCACHED_PORT);
    let program = smartswitch_binary()?.display().to_string();
    let directory = rack.directory().display().to_string();
    let frame = r"\x00\x01\x00\x00\x00\x01\x00\x00";
    Ok(format!(
        r#"The rack stands: 2 clients, 2 memcached servers, SmartSwitch between them.

  clients     {c1_ns} {c1_ip}, {c2_ns} {c2_ip}
  servers     {m1_ns} {m1_ip}, {m2_ns} {m2_ip}, both also {vip}:{port}
  switch      {sw_ns}, ports sw1 to sw4
  files       {directory}

In another terminal, as root:

  a shell in a client           {c1} bash
  set over UDP                  {c1} bash -c 'exec 3<>/dev/udp/{vip}/{port}; printf "{frame}set hello 0 0 5\r\nworld\r\n" | cat >&3; timeout 1 head -c 16 <&3 | tail -c 8'
  get over UDP                  {c1} bash -c 'exec 3<>/dev/udp/{vip}/{port}; printf "{frame}get hello\r\n" >&3; timeout 1 cat <&3 | tail -c +9'
  make it hot                   {c1} bash -c 'exec 3<>/dev/udp/{vip}/{port}; for i in $(seq 1000); do printf "{frame}get hello\r\n" >&3; done'
  who really has it             for m in {m1_ns} {m2_ns}; do ip netns exec $m bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; printf "get hello\r\nquit\r\n" >&3; cat <&3'; done
  watch it                      {sw} {program} top
  metrics, status               {sw} curl -s http://{admin}/metrics http://{admin}/api/status
  what passes a client's link   {c1} tcpdump -eni eth0
  break a server                kill -STOP {m1_pid}; kill -CONT {m1_pid}; {m1} ip link set eth0 down
  ping another host             {c1} ping {c2_ip}

Ctrl-C takes it all down.
"#,
        c1_ns = rack.client(0).namespace,
        c1_ip = rack.client(0).address,
        c2_ns = rack.client(1).namespace,
        c2_ip = rack.client(1).address,
        m1_ns = rack.server(0).host.namespace,
        m1_ip = rack.server(0).host.address,
        m2_ns = rack.server(1).host.namespace,
        m2_ip = rack.server(1).host.address,
        sw_ns = rack.switch_host().namespace,
        admin = ADMIN,
    ))
}
