//! Raw bindings to the distribution's DPDK, generated when the crate is built.
//!
//! Only what `fabric-dpdk` calls is bound; see the lists in `build.rs`. DPDK's fast paths are static inline functions,
//! which have no symbol to bind: `shim.c` gives them one, with the loops over a burst on its side of the call.
//!
//! Everything here is as safe as C. Use `fabric-dpdk`.

#![allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case
)]
#![allow(clippy::all, clippy::undocumented_unsafe_blocks)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
