//! Finds DPDK through pkg-config, compiles the shim and generates the bindings.

use std::path::PathBuf;
use std::process::Command;
use std::{env, panic, process};

/// The oldest DPDK whose structs and functions the shim and the wrapper are written against.
const OLDEST_DPDK: &str = "22.11";

const FUNCTIONS: &[&str] = &[
    "fabric_.*",
    "rte_dev_probe",
    "rte_dev_remove",
    "rte_eal_init",
    "rte_eth_dev_(adjust_nb_rx_tx_desc|close|configure|get_mtu|get_port_by_name|info_get|set_mtu|socket_id)",
    "rte_eth_dev_(start|stop)",
    "rte_eth_macaddr_get",
    "rte_eth_promiscuous_(enable|get)",
    "rte_eth_(rx|tx)_queue_setup",
    "rte_eth_stats_get",
    "rte_mempool_avail_count",
    "rte_pktmbuf_pool_create",
    "rte_thread_(register|unregister)",
];
const TYPES: &[&str] = &["rte_eth_(conf|dev_info|stats)", "rte_ether_addr"];
const CONSTANTS: &[&str] =
    &["FABRIC_.*", "RTE_ETHER_(CRC|HDR)_LEN", "RTE_ETH_NAME_MAX_LEN", "RTE_PKTMBUF_HEADROOM"];
/// Known by name only: they are used through pointers, and their definitions would pull in more.
const INCOMPLETE: &[&str] = &["rte_device", "rte_mbuf", "rte_mempool"];
/// Parts of the port configuration that stay zero.
const OPAQUE: &[&str] = &["rte_eth_dcb_.*", "rte_eth_vmdq_.*"];

fn main() {
    for file in ["build.rs", "shim.c", "shim.h"] {
        println!("cargo:rerun-if-changed={file}");
    }
    let flags = find_dpdk();
    compile_shim(&flags);
    generate_bindings(&flags);
}

/// Emits the link flags and returns all compiler flags. Debian keeps `rte_config.h` in a directory of its own and
/// wants it included before everything else, so the flags are taken as they are, not just the include paths.
fn find_dpdk() -> Vec<String> {
    if let Err(error) = pkg_config::Config::new().atleast_version(OLDEST_DPDK).probe("libdpdk") {
        give_up(&format!("pkg-config does not find libdpdk {OLDEST_DPDK} or newer.\n{error}"));
    }
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    let output = match Command::new(&program).args(["--cflags", "libdpdk"]).output() {
        Ok(output) if output.status.success() => output,
        Ok(output) => {
            give_up(&format!("{program} --cflags libdpdk: {}", String::from_utf8_lossy(&output.stderr)))
        }
        Err(error) => give_up(&format!("{program} does not start: {error}")),
    };
    String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
}

/// Always optimized: the burst loops are in it, and a debug build of the switch should still keep up.
fn compile_shim(flags: &[String]) {
    let mut build = cc::Build::new();
    build.file("shim.c").opt_level(3).warnings(false);
    for flag in flags {
        build.flag(flag);
    }
    if let Err(error) = build.try_compile("fabric_dpdk_shim") {
        give_up(&format!("the C shim does not compile.\n{error}"));
    }
}

fn generate_bindings(flags: &[String]) {
    require_libclang();
    let mut builder = bindgen::builder()
        .header("shim.h")
        .clang_args(flags)
        .derive_default(true)
        .derive_debug(false)
        .generate_comments(false)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false);
    for function in FUNCTIONS {
        builder = builder.allowlist_function(function);
    }
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    for constant in CONSTANTS {
        builder = builder.allowlist_var(constant);
    }
    for name in INCOMPLETE {
        let declaration = format!("#[repr(C)] pub struct {name} {{ _unused: [u8; 0] }}");
        builder = builder.blocklist_type(format!("{name}(__.*)?")).opaque_type(name).raw_line(declaration);
    }
    for name in OPAQUE {
        builder = builder.opaque_type(name);
    }
    let bindings = match builder.generate() {
        Ok(bindings) => bindings,
        Err(error) => give_up(&format!("bindgen cannot read the DPDK headers.\n{error}")),
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("bindings.rs");
    if let Err(error) = bindings.write_to_file(&out) {
        give_up(&format!("{}: {error}", out.display()));
    }
}

/// bindgen loads libclang at run time and panics if there is none.
fn require_libclang() {
    let loud = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let found = panic::catch_unwind(bindgen::clang_version).is_ok();
    panic::set_hook(loud);
    if !found {
        give_up("bindgen does not find libclang.");
    }
}

fn give_up(what: &str) -> ! {
    eprintln!("fabric-dpdk-sys: {what}\n");
    eprintln!("It needs DPDK {OLDEST_DPDK} or newer with its headers, and clang. On Debian and Ubuntu:");
    eprintln!("    apt-get install pkg-config libdpdk-dev clang libclang-dev");
    eprintln!("To build the switch without DPDK: cargo build --no-default-features");
    process::exit(1);
}
