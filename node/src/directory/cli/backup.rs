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

/// Written aside and then given its name: what is under that is whole, whenever this ends.
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
    let (bytes, shards) = fetch(admin, &part, file).inspect_err(|_| {
        // Half a backup is none.
        _ = fs::remove_file(&part);
    })?;
    name(&part, path)?;
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

/// Gives a whole backup its name, if nothing has it by now.
fn name(part: &Path, path: &Path) -> Result<(), String> {
    let (from, to) = (part.display(), path.display());
    // Unlike a rename, a link takes no other file's place.
    fs::hard_link(part, path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            format!(
                "{to} was made by somebody else meanwhile; the backup is whole and stays in {from}: rename it"
            )
        }
        _ => format!(
            "the backup is whole and stays in {from}: it cannot be linked to {to}: {error}; rename it"
        ),
    })?;
    fs::remove_file(part)
        .map_err(|error| format!("{to} is whole, but {from}, the same file, cannot be removed: {error}"))?;
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| {
        let directory = directory.display();
        format!("{to} is whole, but may be gone after a power failure: {directory} cannot be synced: {error}")
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_takes_no_other_files_place() {
        let place = std::env::temp_dir().join(format!("smartswitch-backup-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let path = place.join("monday");
        let part = part_of(&path);
        fs::write(&part, "whole").unwrap();
        fs::write(&path, "another one").unwrap();
        let refused = name(&part, &path).unwrap_err();
        assert!(refused.contains("meanwhile") && refused.contains("monday.part"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "another one");
        fs::remove_file(&path).unwrap();
        name(&part, &path).unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), part.exists()), ("whole", false));
        fs::remove_dir_all(&place).unwrap();
    }
}
