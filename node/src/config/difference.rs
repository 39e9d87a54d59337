//! What a new configuration changes, and whether a running node can take it on.
//!
//! Compares what the files say, not what is meant: a key that is written with its default value counts as added.
//! Entries of lists of tables (`[[pool]]`, `[[pool.server]]`) are told apart by their `name`, so that their order does
//! not matter; other values are compared as wholes.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Change {
    /// Where, as in `pool.web.server.mc1.weight`.
    pub path: String,
    /// What it was, as TOML; `None` if it is new.
    pub before: Option<String>,
    /// What it is now, as TOML; `None` if it is gone.
    pub after: Option<String>,
    /// When it takes effect.
    pub takes_effect: TakesEffect,
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TakesEffect {
    /// With a reload.
    Reload,
    /// Only when the node is started again.
    Restart,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (None, Some(after)) => write!(f, "+ {} = {after}", self.path)?,
            (Some(before), None) => write!(f, "- {} = {before}", self.path)?,
            (before, after) => {
                let text = |value: &Option<String>| value.clone().unwrap_or_default();
                write!(f, "~ {}: {} -> {}", self.path, text(before), text(after))?;
            }
        }
        match self.takes_effect {
            TakesEffect::Reload => Ok(()),
            TakesEffect::Restart => f.write_str("   (needs a restart)"),
        }
    }
}

/// What differs between two configurations, in the order of the paths. `takes_effect` says of a path when a change
/// there does.
///
/// # Errors
/// If one of the texts is no TOML.
pub fn between(
    before: &str,
    after: &str,
    takes_effect: impl Fn(&str) -> TakesEffect,
) -> Result<Vec<Change>, toml::de::Error> {
    let (before, after) = (leaves(&before.parse()?), leaves(&after.parse()?));
    let mut paths: Vec<&String> = before.keys().chain(after.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    let changed = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
    let change = |path: &String| Change {
        path: path.clone(),
        before: before.get(path).cloned(),
        after: after.get(path).cloned(),
        takes_effect: takes_effect(path),
    };
    Ok(changed.map(change).collect())
}

/// Every value that is no table, by its path.
fn leaves(table: &Table) -> BTreeMap<String, String> {
    let mut leaves = BTreeMap::new();
    collect("", table, &mut leaves);
    leaves
}

fn collect(prefix: &str, table: &Table, leaves: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let path = join(prefix, key);
        match value {
            Value::Table(table) => collect(&path, table, leaves),
            Value::Array(entries) if !entries.is_empty() && entries.iter().all(Value::is_table) => {
                for (index, entry) in entries.iter().filter_map(Value::as_table).enumerate() {
                    collect_entry(&path, index, entry, leaves);
                }
            }
            value => _ = leaves.insert(path, value.to_string()),
        }
    }
}

/// An entry of a list of tables, by its name or else its place.
fn collect_entry(path: &str, index: usize, entry: &Table, leaves: &mut BTreeMap<String, String>) {
    let name = entry.get("name").and_then(Value::as_str);
    let path = name.map_or_else(|| format!("{path}[{index}]"), |name| join(path, name));
    let mut rest = entry.clone();
    if rest.remove("name").is_some() && rest.is_empty() {
        leaves.insert(path.clone(), "{}".to_owned());
    }
    collect(&path, &rest, leaves);
}

/// The first key of a path, as it is called in the file.
pub fn first_key(path: &str) -> String {
    let quoted = path.strip_prefix('"').and_then(|rest| rest.split('"').next());
    quoted.unwrap_or_else(|| path.split('.').next().unwrap_or(path)).to_owned()
}

fn join(prefix: &str, key: &str) -> String {
    let plain =
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let key = if plain { key.to_owned() } else { format!("{key:?}") };
    if prefix.is_empty() { key } else { format!("{prefix}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"
        [embedded]
        memory = "64MiB"
        [[pool]]
        name = "web"
        hash_tag = "{}"
        [[pool.server]]
        name = "10.0.0.1:11211"
        weight = 1
        [[pool.server]]
        name = "mc2"
    "#;

    fn shown(after: &str) -> Vec<String> {
        let effect = |path: &str| match path.starts_with("pool.") {
            true => TakesEffect::Reload,
            false => TakesEffect::Restart,
        };
        between(BEFORE, after, effect).unwrap().iter().map(Change::to_string).collect()
    }

    #[test]
    fn what_is_added_changed_and_gone() {
        let after = r#"
            [embedded]
            memory = "1GiB"
            [[pool]]
            name = "web"
            clients = ["10.0.0.0/8"]
            [[pool.server]]
            name = "mc2"
            [[pool.server]]
            name = "mc3"
            weight = 2
            [[pool.server]]
            name = "10.0.0.1:11211"
            weight = 3
        "#;
        assert_eq!(
            shown(after),
            [
                r#"~ embedded.memory: "64MiB" -> "1GiB"   (needs a restart)"#,
                r#"+ pool.web.clients = ["10.0.0.0/8"]"#,
                r#"- pool.web.hash_tag = "{}""#,
                r#"~ pool.web.server."10.0.0.1:11211".weight: 1 -> 3"#,
                "+ pool.web.server.mc3.weight = 2",
            ]
        );
    }

    #[test]
    fn the_first_key_of_a_path() {
        for (path, key) in [("web.server.mc1", "web"), ("web", "web"), ("\"a.b:1\".x", "a.b:1")] {
            assert_eq!(first_key(path), key);
        }
    }

    #[test]
    fn order_and_layout_do_not_matter() {
        let after = r#"
            embedded.memory = "64MiB"
            [[pool]]
            hash_tag = "{}"
            name = "web"
            server = [{ name = "mc2" }, { weight = 1, name = "10.0.0.1:11211" }]
        "#;
        assert_eq!(shown(after), Vec::<String>::new());
    }

    #[test]
    fn an_entry_of_nothing_but_a_name_is_seen() {
        let after = BEFORE.replace("mc2", "mc9");
        assert_eq!(shown(&after), ["- pool.web.server.mc2 = {}", "+ pool.web.server.mc9 = {}"]);
    }

    #[test]
    fn entries_without_a_name_go_by_their_place() {
        let changes = between("[[a]]\nx = 1", "[[a]]\nx = 2\n[[a]]\nx = 3", |_| TakesEffect::Reload).unwrap();
        let shown: Vec<String> = changes.iter().map(Change::to_string).collect();
        assert_eq!(shown, ["~ a[0].x: 1 -> 2", "+ a[1].x = 3"]);
        assert!(between("a = ", "", |_| TakesEffect::Reload).is_err());
    }
}
