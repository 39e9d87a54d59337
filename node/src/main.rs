//! The smartswitch program.
fn main() {}
