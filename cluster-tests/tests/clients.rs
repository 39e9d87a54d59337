//! Clients that people use, unchanged: the scripts of `clients`, against memcached itself, the node's embedded store, and
//! a pool of two servers behind the node.
#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cluster_tests::RackError;
use cluster_tests::loopback::{Service, free_address};
use cluster_tests::proxied::Proxied;
use cluster_tests::rack::{Process, find_program, smartswitch_binary};
use cluster_tests::scratch::Scratch;

/// For all of a script; the first time, Go compiles its library.
const DEADLINE: Duration = Duration::from_secs(120);

/// A script of `clients`.
struct Client {
    /// The script, below `clients`.
    script: &'static str,
    /// What runs it. Debian's libraries belong to Debian's interpreters.
    program: &'static str,
    /// What comes before the script on the command line.
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// The Debian packages that have its parts.
    packages: &'static str,
}

const GO: Client = Client {
    script: "go/client.go",
    program: "go",
    arguments: &["run"],
    // The library is where Debian puts it; nothing is downloaded.
    environment: &[
        ("GO111MODULE", "off"),
        ("GOPATH", "/usr/share/gocode"),
        ("GOFLAGS", ""),
        ("GOTOOLCHAIN", "local"),
    ],
    packages: "golang-go golang-github-bradfitz-gomemcache-dev",
};
const JAVA: Client = Client {
    script: "java/Client.java",
    program: "java",
    arguments: &["-cp", "/usr/share/java/spymemcached.jar"],
    environment: &[],
    packages: "default-jdk-headless libspymemcached-java",
};
const PERL: Client = Client {
    script: "perl/client.pl",
    program: "/usr/bin/perl",
    arguments: &[],
    environment: &[],
    packages: "perl libcache-memcached-perl",
};
const PHP: Client = Client {
    script: "php/client.php",
    program: "/usr/bin/php",
    arguments: &[],
    environment: &[],
    packages: "php-cli php-memcached",
};
const PYTHON: Client = Client {
    script: "python/client.py",
    program: "/usr/bin/python3",
    arguments: &[],
    environment: &[],
    packages: "python3 python3-pymemcache",
};

#[test]
fn gomemcache() {
    serves(&GO, "text");
}

#[test]
fn spymemcached() {
    serves(&JAVA, "text");
}

#[test]
fn spymemcached_binary() {
    serves(&JAVA, "binary");
}

#[test]
fn cache_memcached() {
    serves(&PERL, "text");
}

#[test]
fn php_memcached() {
    serves(&PHP, "text");
}

#[test]
fn php_memcached_binary() {
    serves(&PHP, "binary");
}

#[test]
fn pymemcache() {
    serves(&PYTHON, "text");
}

/// Runs the client against memcached, which shows that the script is right, and against the node in both its roles.
fn serves(client: &Client, protocol: &str) {
    let name = format!("clients-{}-{protocol}", client.script.replace('/', "-"));
    let scratch = Scratch::new(&name).unwrap();
    let memcached = Service::memcached("memcached", scratch.path()).unwrap();
    client.run("memcached", &memcached, protocol, scratch.path());
    let embedded = embedded(scratch.path()).unwrap();
    client.run("the embedded node", &embedded, protocol, scratch.path());
    // Every key that is read twice is hot.
    let pool = Proxied::start(&format!("{name}-pool"), 2, |pool| pool.hot_threshold = Some(2)).unwrap();
    client.run("a pool of two servers", &pool.node, protocol, scratch.path());
    for server in &pool.servers {
        assert!(server.stat("cmd_set").unwrap() > Some(0), "a server was not asked: {}", server.address());
    }
}

/// A node with its embedded store.
fn embedded(directory: &Path) -> Result<Service, RackError> {
    let (listen, admin) = (free_address()?, free_address()?);
    let arguments = ["run", "--listen", &listen.to_string(), "--admin", &admin.to_string()];
    Service::start("embedded", directory, listen, &smartswitch_binary()?, &arguments)
}

impl Client {
    fn run(&self, what: &str, service: &Service, protocol: &str, directory: &Path) {
        // Cargo runs tests where their package is.
        let script = Path::new("clients").join(self.script);
        let mut command = Command::new(find_program(self.program).unwrap());
        command.args(self.arguments).arg(script).envs(self.environment.iter().copied());
        command.env("MEMCACHED_ADDRESS", service.address().to_string()).env("MEMCACHED_PROTOCOL", protocol);
        let mut process = Process::start("client", directory, &mut command).unwrap();
        let status = process.wait_end(DEADLINE).unwrap();
        assert!(
            status.success(),
            "{} ({protocol}) against {what}: {status}\n{}\nit needs: apt-get install {}",
            self.script,
            process.log_tail(),
            self.packages
        );
    }
}
