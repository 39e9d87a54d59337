//! `smartswitch directory`: asks a running node, by its admin server; restores without one.

mod ask;
mod backup;
mod show;

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use naming::{Name, NodeId};
use serde_json::{Value, json};

use super::split::Split;
use super::view::{Entry, Overview, Resolved, Told};
use crate::cli::say;
use ask::Admin;

const EXAMPLES: &str = "\
Examples:
  smartswitch directory status                 the shards, who leads them, how far each member is
  smartswitch directory ls /node               the nodes that live
  smartswitch directory resolve /hdfs/c1/BP-1/17/v=1001/seg=3
  smartswitch directory watch /mc --json       every change under /mc, one line each
  smartswitch directory add-node 2             node 2 becomes a member, once it has caught up
  smartswitch directory add-node 4 --replace 3
  smartswitch directory split /hdfs            the names from /hdfs on become a shard of their own
  smartswitch directory backup /backup/monday

From one node to three, while the first one serves:
  1. smartswitch pki init DIR; smartswitch pki node DIR --id 1, and 2, and 3
  2. on each node:  [fabric] with listen, ca, certificate, key; a [[fabric.peer]] for each other node; [directory]
  3. on node 1:         smartswitch reload; on nodes 2 and 3:  smartswitch run --config node.toml
  4. nothing: the directory gives each shard three members once there are three nodes. With `rebalance = false`, on any
     node:  smartswitch directory add-node 2; smartswitch directory add-node 3

A member whose disk is lost exits with an error when it is started with an empty one. Its place is for another id:
  smartswitch pki node DIR --id 4; then on the node: `id` in [node] and its files in [fabric]; then at a member:
  smartswitch directory add-node 4 --replace 3

A majority of a shard's members has to run: of three one may be gone, of five two. All commands but `restore` ask a
running node, which has to have a [directory] but need not be a member.";

const RESTORE_EXAMPLES: &str = "\
Restoring begins a new directory with one node, in a place for its data that has none yet:
  smartswitch directory restore /backup/monday --config node.toml
  smartswitch run --config node.toml
  smartswitch directory add-node 2             and so on, with nodes whose data is empty

Members of the directory that was backed up must not go on: stop them, and empty their data.";

/// Options of `directory`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DirectoryOptions {
    /// What to do.
    #[command(subcommand)]
    pub command: DirectoryCommand,
    /// The node's admin server.
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:9311")]
    pub admin: String,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do with the directory.
#[derive(Debug, Subcommand)]
pub enum DirectoryCommand {
    /// Show the shards, who leads them, and how far their members are. Ends with 1 if a shard has no leader.
    Status,
    /// Show the nodes: where they are, and which shards they lead, vote in or catch up with.
    Members,
    /// Show who answers for a name, where its copies are, and where requests for it go.
    Resolve(NameOptions),
    /// List everything under a prefix.
    Ls(NameOptions),
    /// Show everything under a prefix, and then every change, until interrupted.
    Watch(WatchOptions),
    /// Make a running node a member of all shards. Ends once it has caught up and votes.
    AddNode(AddOptions),
    /// Remove a member from all shards. One that is gone for good is forgotten; stop it before, or let it have
    /// `accept_shards = false`, since it gets shards again otherwise.
    RemoveNode(RemoveOptions),
    /// Split the shard that has a prefix there: the names from it on become a shard of their own, with the same members. Shards
    /// that grow are split without being told to; this is for before that, say, ahead of a load. In the order of names /mc is before /hdfs: shorter
    /// components come first. There is no way back.
    Split(SplitOptions),
    /// Write all that the directory knows to a file, while it serves. Any node may be asked: what it does not have itself it gets
    /// from the members that have it. Of each shard the file has everything that was acknowledged before the command began, as of
    /// one moment, and of different shards as of different moments. A member that goes meanwhile ends the backup with an error:
    /// then take another one.
    Backup(BackupOptions),
    /// Make the data of a node that is not running from a backup.
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(RestoreOptions),
}

/// Options of `directory resolve` and `directory ls`.
#[derive(Debug, Args)]
pub struct NameOptions {
    /// The name or prefix, such as /node.
    #[arg(value_name = "NAME")]
    pub name: Name,
    /// What the node's own replica has, without asking whether it is the latest: answered without a majority, too.
    #[arg(long)]
    pub local: bool,
}

/// Options of `directory watch`.
#[derive(Debug, Args)]
pub struct WatchOptions {
    /// The prefix, such as /mc.
    #[arg(value_name = "PREFIX")]
    pub prefix: Name,
}

/// Options of `directory add-node`.
#[derive(Debug, Args)]
pub struct AddOptions {
    /// The node, in hexadecimal digits. It has to run, with a member among its [[fabric.peer]].
    #[arg(value_name = "ID")]
    pub node: NodeId,
    /// A member whose place it takes, in one step: at no time do fewer members decide. That one may be dead.
    #[arg(long, value_name = "ID")]
    pub replace: Option<NodeId>,
}

/// Options of `directory remove-node`.
#[derive(Debug, Args)]
pub struct RemoveOptions {
    /// The node, in hexadecimal digits. It may be dead.
    #[arg(value_name = "ID")]
    pub node: NodeId,
}

/// Options of `directory split`.
#[derive(Debug, Args)]
pub struct SplitOptions {
    /// The first name of the new shard, such as /hdfs.
    #[arg(value_name = "PREFIX")]
    pub at: Name,
}

/// Options of `directory backup`.
#[derive(Debug, Args)]
pub struct BackupOptions {
    /// Where to; nothing is overwritten. It is written as FILE.part, and has its name once it is whole.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
}

/// Options of `directory restore`.
#[derive(Debug, Args)]
pub struct RestoreOptions {
    /// The backup.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The configuration that the node is to run with: it says which node it is, and where its data is.
    #[arg(long, short, value_name = "CONFIG", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Where the node keeps its data. Overrides `data` in `[node]`.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,
}

/// Does what was asked.
///
/// # Errors
/// If it cannot be done; the message says what to do.
pub fn directory(options: &DirectoryOptions) -> Result<(), Box<dyn Error>> {
    let (admin, json) = (Admin::new(&options.admin), options.json);
    match &options.command {
        DirectoryCommand::Status => status(&admin, json),
        DirectoryCommand::Members => members(&admin, json),
        DirectoryCommand::Resolve(options) => resolve(&admin, options, json),
        DirectoryCommand::Ls(options) => list(&admin, options, json),
        DirectoryCommand::Watch(options) => watch(&admin, options, json),
        DirectoryCommand::AddNode(options) => add(&admin, options, json),
        DirectoryCommand::RemoveNode(options) => remove(&admin, options, json),
        DirectoryCommand::Split(options) => split(&admin, options, json),
        DirectoryCommand::Backup(options) => backup::take(&admin, options, json),
        DirectoryCommand::Restore(options) => backup::restore(options, json),
    }
}

fn status(admin: &Admin, json: bool) -> Result<(), Box<dyn Error>> {
    let overview: Overview = admin.get("", &[])?;
    if json {
        print(&overview)?
    } else {
        show::status(&overview)
    }
    overview.trouble().map_or(Ok(()), |trouble| Err(trouble.into()))
}

fn members(admin: &Admin, json: bool) -> Result<(), Box<dyn Error>> {
    let overview: Overview = admin.get("", &[])?;
    let members = show::members_of(&overview);
    if json {
        print(&members)?
    } else {
        show::members(&members)
    }
    Ok(())
}

fn resolve(admin: &Admin, options: &NameOptions, json: bool) -> Result<(), Box<dyn Error>> {
    let resolved: Resolved = admin.get("/resolve", &asked("name", options))?;
    if json {
        print(&resolved)?
    } else {
        show::resolved(&resolved)
    }
    Ok(())
}

fn list(admin: &Admin, options: &NameOptions, json: bool) -> Result<(), Box<dyn Error>> {
    let entries: Vec<Entry> = admin.get("/ls", &asked("prefix", options))?;
    if json {
        print(&entries)?
    } else {
        entries.iter().for_each(|entry| show::entry("", entry))
    }
    Ok(())
}

fn asked(key: &'static str, options: &NameOptions) -> [(&'static str, String); 2] {
    [(key, options.name.to_string()), ("local", options.local.to_string())]
}

fn watch(admin: &Admin, options: &WatchOptions, json: bool) -> Result<(), Box<dyn Error>> {
    admin.lines("/watch", &[("prefix", options.prefix.to_string())], |line| {
        if json {
            say(format_args!("{line}"));
        } else {
            show::told(&serde_json::from_str::<Told>(line)?);
        }
        Ok(())
    })?;
    Err("the watch ended: the node stops, or tells changes faster than they are read".into())
}

fn add(admin: &Admin, options: &AddOptions, json: bool) -> Result<(), Box<dyn Error>> {
    let mut query = vec![("node", options.node.to_string())];
    query.extend(options.replace.map(|replaced| ("replace", replaced.to_string())));
    let shards: Vec<String> = admin.post("/add-node", &query)?;
    if json {
        return print(&json!({ "node": options.node.to_string(), "shards": shards }));
    }
    let place = options.replace.map(|replaced| format!(", in place of {replaced}")).unwrap_or_default();
    say(format_args!("node {} is a member of {}{place}", options.node, show::count(shards.len(), "shard")));
    Ok(())
}

fn remove(admin: &Admin, options: &RemoveOptions, json: bool) -> Result<(), Box<dyn Error>> {
    let shards: Vec<String> = admin.post("/remove-node", &[("node", options.node.to_string())])?;
    if json {
        return print(&json!({ "node": options.node.to_string(), "shards": shards }));
    }
    say(format_args!("node {} is a member of no shard, of {}", options.node, shards.len()));
    Ok(())
}

fn split(admin: &Admin, options: &SplitOptions, json: bool) -> Result<(), Box<dyn Error>> {
    let split: Split = admin.post("/split", &[("prefix", options.at.to_string())])?;
    if json {
        return print(&split);
    }
    let Split { at, shard, new, leader } = &split;
    say(format_args!(
        "shard {shard} keeps the names before {at}; those from it on are shard {new}, led by {leader}"
    ));
    Ok(())
}

fn print(value: &impl serde::Serialize) -> Result<(), Box<dyn Error>> {
    let value: Value = serde_json::to_value(value)?;
    say(format_args!("{value}"));
    Ok(())
}
