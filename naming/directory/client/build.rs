//! Compiles the messages between clients and servers; those of the log are the directory's own.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(["proto/client.proto"], ["proto", "../proto"])?;
    prost_build::Config::new()
        .bytes(["."])
        .extern_path(".smartswitch.directory.v1", "::naming_directory::proto")
        .compile_fds(descriptors)?;
    println!("cargo::rerun-if-changed=proto/client.proto");
    println!("cargo::rerun-if-changed=../proto/directory.proto");
    Ok(())
}
