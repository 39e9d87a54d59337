//! Files with all that the directory knows: written of a running node, read for one that is to begin with them.

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use naming_directory_server::backup::{self, BackupError};
use serde_json::json;

use super::ask::Admin;
use super::{BackupOptions, RestoreOptions, print, show};
use crate::cli::say;
use crate::config;
use crate::directory::{OpenError, store};

/// Written aside and renamed: what is under the file's own name is whole, whenever this ends.
pub(super) fn take(admin: &Admin, options: &BackupOptions, json: bool) -> Result<(), Box<dyn Error>> {
    let (path, part) = (&options.file, part_of(&options.file));
    let shown = path.display();
    if path.try_exists()? {
        return Err(format!("{shown} exists; give a file that is not there yet").into());
    }
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!(
            "{} exists: another backup is being written, or was interrupted; remove it if none is",
            part.display()
        ),
        _ => format!("cannot write {}: {error}", part.display()),
    };
    let file = File::options().write(true).create_new(true).open(&part).map_err(failed)?;
    let written = fetch(admin, &part, file).and_then(|written| {
        rename(&part, path).map_err(|error| format!("cannot write {shown}: {error}"))?;
        Ok(written)
    });
    let (bytes, shards) = written.inspect_err(|_| {
        // Half a backup is none.
        _ = fs::remove_file(&part);
    })?;
    if json {
        return print(&json!({ "file": path, "bytes": bytes, "shards": shards }));
    }
    say(format_args!("{shown}: {bytes} bytes, {}", show::count(shards as usize, "shard")));
    Ok(())
}

fn part_of(path: &Path) -> PathBuf {
    let mut part = OsString::from(path);
    part.push(".part");
    part.into()
}

/// Durable and read again before it counts as a backup.
fn fetch(admin: &Admin, path: &Path, mut file: File) -> Result<(u64, u32), Box<dyn Error>> {
    let copied = io::copy(&mut admin.open("/backup", &[])?, &mut file);
    file.sync_all()?;
    let checked = backup::check(&mut BufReader::new(File::open(path)?));
    match (copied, checked) {
        (Ok(bytes), Ok(shards)) => Ok((bytes, shards)),
        // The node knows why better than the connection that it cut.
        (_, Err(failed @ BackupError::Failed(_))) => Err(failed.into()),
        (Err(error), _) => {
            Err(format!("the backup ended early: {error}; see that there is room for it, and the node's log")
                .into())
        }
        (Ok(_), Err(error)) => Err(error.into()),
    }
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    let directory = to.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

pub(super) fn restore(options: &RestoreOptions, json: bool) -> Result<(), Box<dyn Error>> {
    let mut node = match &options.config {
        Some(path) => {
            let checked = config::load(path)?;
            let hint = || format!("{} has errors; `smartswitch check` shows them", path.display());
            checked.config.ok_or_else(hint)?.node
        }
        None => config::Config::default().node,
    };
    node.data = options.data.clone().or(node.data);
    let data = store(node.data().ok_or(OpenError::NoPlace)?);
    let unreadable = |error| format!("cannot read {}: {error}", options.file.display());
    let file = File::open(&options.file).map_err(unreadable)?;
    let shards = backup::restore(&data, node.id, &mut BufReader::new(file))?;
    if json {
        return print(&json!({ "data": data, "node": node.id.to_string(), "shards": shards }));
    }
    say(format_args!("{}: node {}, {}", data.display(), node.id, show::count(shards as usize, "shard")));
    Ok(())
}
