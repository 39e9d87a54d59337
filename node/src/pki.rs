//! `smartswitch pki`: a certificate authority for those who have none, and what is in a certificate.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, Subcommand, ValueHint};
use fabric_quic::Files;
use fabric_quic::pki::{Authority, Facts, Validity, date, facts};
use naming::NodeId;
use serde_json::{Value, json};

use crate::cli::say;

const EXAMPLES: &str = "\
Examples:
  smartswitch pki init /etc/smartswitch/pki
  smartswitch pki node /etc/smartswitch/pki --id 1
  smartswitch pki node /etc/smartswitch/pki --id 2 --address tor-2.example --address 10.0.2.254
  smartswitch pki node /etc/smartswitch/pki --id 1 --renew
  smartswitch pki show /etc/smartswitch/pki/0000000000000001.crt

A node gets three of the files: ca.crt, its own .crt and its own .key. ca.key makes certificates for whoever has it: keep
it off the nodes. Nothing that exists is overwritten, but a node's certificate by --renew, which keeps its key.";

/// Options of `pki`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PkiOptions {
    /// What to do.
    #[command(subcommand)]
    pub command: PkiCommand,
}

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub enum PkiCommand {
    /// Make a certificate authority.
    Init(InitOptions),
    /// Make or renew the certificate of a node.
    Node(NodeOptions),
    /// Show what is in certificates.
    Show(ShowOptions),
}

/// Options of `pki init`.
#[derive(Debug, Args)]
pub struct InitOptions {
    /// Where the authority is to be; made if it is not there. The key is written with mode 0600.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// What the authority calls itself, before a random number.
    #[arg(long, value_name = "NAME", default_value = "SmartSwitch CA")]
    pub name: String,
    /// How long it is valid. No certificate that it signs outlives it.
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..))]
    pub days: u32,
    /// Print JSON: {"files": {"ca", "key"}, "certificate": {...}}.
    #[arg(long)]
    pub json: bool,
}

/// Options of `pki node`.
#[derive(Debug, Args)]
pub struct NodeOptions {
    /// Where the authority is; the node's files are put beside it.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// The node, in hexadecimal digits: `2a` is 000000000000002a.
    #[arg(long, value_name = "ID")]
    pub id: NodeId,
    /// A host name or IP address that the certificate is to be valid for, too; may be given several times. Nodes do
    /// not need any: they know one another by id.
    #[arg(long = "address", value_name = "HOST")]
    pub addresses: Vec<String>,
    /// How long it is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..))]
    pub days: u32,
    /// Put a new certificate in the place of the node's, for the same key; without --address, for the same addresses.
    #[arg(long)]
    pub renew: bool,
    /// Print JSON: {"files": {"ca", "certificate", "key"}, "certificate": {...}}.
    #[arg(long)]
    pub json: bool,
}

/// Options of `pki show`.
#[derive(Debug, Args)]
pub struct ShowOptions {
    /// A PEM file with certificates.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Print JSON: {"certificates": [{"subject", "issuer", "serial", "node", "authority", "not_before", "not_after",
    /// "valid", "days_left", "names", "sha256"}]}.
    #[arg(long)]
    pub json: bool,
}

/// Does what was asked.
///
/// # Errors
/// If it cannot be done; the message says what to do.
pub fn pki(options: &PkiOptions) -> Result<(), Box<dyn Error>> {
    match &options.command {
        PkiCommand::Init(options) => init(options),
        PkiCommand::Node(options) => node(options),
        PkiCommand::Show(options) => show(options),
    }
}

fn init(options: &InitOptions) -> Result<(), Box<dyn Error>> {
    let authority = Authority::create(&options.dir, &options.name, Validity::days(options.days)?)?;
    let [ca, key] = ["ca.crt", "ca.key"].map(|file| options.dir.join(file));
    if options.json {
        let files = json!({ "ca": ca, "key": key });
        say(format_args!("{}", json!({ "files": files, "certificate": in_json(authority.facts()) })));
        return Ok(());
    }
    let (dir, until) = (options.dir.display(), date(authority.facts().not_after));
    say(format_args!("authority    {}, valid until {until}", ca.display()));
    say(format_args!("key          {}: keep it secret, and off the nodes", key.display()));
    say(format_args!("next         smartswitch pki node {dir} --id 1"));
    Ok(())
}

fn node(options: &NodeOptions) -> Result<(), Box<dyn Error>> {
    let authority = Authority::open(&options.dir)?;
    let validity = Validity::days(options.days)?;
    let files = match options.renew {
        true => authority.renew(options.id, &options.addresses, validity)?,
        false => authority.issue(options.id, &options.addresses, validity)?,
    };
    let written = facts(&files.certificate)?.swap_remove(0);
    let Files { ca, certificate, key } = &files;
    if options.json {
        let files = json!({ "ca": ca, "certificate": certificate, "key": key });
        say(format_args!("{}", json!({ "files": files, "certificate": in_json(&written) })));
        return Ok(());
    }
    say(format_args!("node         {}", options.id));
    say(format_args!("certificate  {}, valid until {}", certificate.display(), date(written.not_after)));
    say(format_args!("key          {}", key.display()));
    say(format_args!("authority    {}", ca.display()));
    Ok(())
}

fn show(options: &ShowOptions) -> Result<(), Box<dyn Error>> {
    let certificates = facts(Path::new(&options.file))?;
    if options.json {
        let certificates: Vec<Value> = certificates.iter().map(in_json).collect();
        say(format_args!("{}", json!({ "certificates": certificates })));
        return Ok(());
    }
    for (number, certificate) in certificates.iter().enumerate() {
        if number > 0 {
            say(format_args!(""));
        }
        in_words(certificate);
    }
    Ok(())
}

fn in_words(certificate: &Facts) {
    let node = certificate.node.map_or_else(|| "none".to_owned(), |node| node.to_string());
    let kind = if certificate.is_ca { ", an authority" } else { "" };
    let names = certificate.names.join(", ");
    let (left, until) = (left(certificate), date(certificate.not_after));
    say(format_args!("subject      {}{kind}", certificate.subject));
    say(format_args!("node         {node}"));
    say(format_args!("names        {}", if names.is_empty() { "none" } else { &names }));
    say(format_args!("valid        from {} until {until} ({left})", date(certificate.not_before)));
    say(format_args!("issuer       {}", certificate.issuer));
    say(format_args!("serial       {}", certificate.serial));
    say(format_args!("sha256       {}", certificate.fingerprint));
}

fn left(certificate: &Facts) -> String {
    let now = SystemTime::now();
    match days_left(certificate, now) {
        _ if now < certificate.not_before => "not yet valid".to_owned(),
        days if days < 0 => "expired".to_owned(),
        0 => "less than a day left".to_owned(),
        1 => "1 day left".to_owned(),
        days => format!("{days} days left"),
    }
}

/// Whole days until it ends; negative once it has.
fn days_left(certificate: &Facts, now: SystemTime) -> i64 {
    let days = |seconds: u64| i64::try_from(seconds / 86_400).unwrap_or(i64::MAX);
    match certificate.not_after.duration_since(now) {
        Ok(left) => days(left.as_secs()),
        Err(past) => -1 - days(past.duration().as_secs()),
    }
}

fn in_json(certificate: &Facts) -> Value {
    let now = SystemTime::now();
    json!({
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "node": certificate.node.map(|node| node.to_string()),
        "authority": certificate.is_ca,
        "not_before": date(certificate.not_before),
        "not_after": date(certificate.not_after),
        "valid": certificate.is_valid_at(now),
        "days_left": days_left(certificate, now),
        "names": certificate.names,
        "sha256": certificate.fingerprint,
    })
}
