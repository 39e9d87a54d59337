//! Compiles the messages between servers.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(["proto/transfer.proto"], ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    println!("cargo::rerun-if-changed=proto/transfer.proto");
    Ok(())
}
