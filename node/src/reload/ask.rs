//! `smartswitch reload`: asks a running node to read its configuration again.

use std::error::Error;
use std::time::Duration;

use clap::Args;

use super::Report;
use crate::admin::ASKED_BY;
use crate::cli::say;
use crate::config::difference::TakesEffect;

/// How long a node may take.
const TIMEOUT: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
Examples:
  smartswitch reload --dry-run   what would change: `+` added, `-` gone, `~` changed
  smartswitch reload
  kill -HUP PID                  the same, with the differences in the node's log

What changes in a [[pool]] that is served over TCP takes effect at once; clients stay connected, and no request is lost.
So does a [fabric] that was not there before; certificates are read again. Other changes wait for a restart. A file with errors changes nothing: the command ends with 1 and says what is wrong.";

/// Options of `reload`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReloadOptions {
    /// The node's admin server.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9311")]
    pub admin: String,
    /// Show what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON: {"applied": ..., "changes": [{"path", "before", "after", "takes_effect"}], "problems": [...]}.
    #[arg(long)]
    pub json: bool,
}

/// Asks the node and prints what it says.
///
/// # Errors
/// If the node cannot be asked, or its file has errors.
pub fn reload(options: &ReloadOptions) -> Result<(), Box<dyn Error>> {
    let report = ask(options)?;
    if options.json {
        say(format_args!("{}", serde_json::to_string(&report)?));
    } else {
        show(&report, options.dry_run);
    }
    match report.applied || options.dry_run && report.is_good() {
        true => Ok(()),
        false => Err("the configuration has errors; the node goes on with the one it has".into()),
    }
}

fn ask(options: &ReloadOptions) -> Result<Report, Box<dyn Error>> {
    let scheme = if options.admin.contains("://") { "" } else { "http://" };
    let url = format!("{scheme}{}/api/reload", options.admin.trim_end_matches('/'));
    let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
    let agent: ureq::Agent = config.build().into();
    let request = agent.post(&url).header(ASKED_BY, "reload").query("dry_run", options.dry_run.to_string());
    let mut response = request.send_empty().map_err(|error| {
        format!("no node answers at {url}: {error}; is it running, and is --admin its `listen` in [admin]?")
    })?;
    match response.status().as_u16() {
        200 => Ok(response.body_mut().read_json()?),
        _ => Err(response.body_mut().read_to_string()?.trim().into()),
    }
}

fn show(report: &Report, dry_run: bool) {
    report.problems.iter().for_each(|problem| say(format_args!("{problem}")));
    report.changes.iter().for_each(|change| say(format_args!("{change}")));
    if !report.is_good() {
        return;
    }
    let waiting = report.changes.iter().filter(|change| change.takes_effect == TakesEffect::Restart).count();
    let now = report.changes.len() - waiting;
    let verb = if dry_run { "would take" } else { "took" };
    match waiting {
        _ if report.changes.is_empty() => say(format_args!("nothing has changed")),
        0 => say(format_args!("changes that {verb} effect: {now}")),
        _ => say(format_args!("changes that {verb} effect: {now}, that wait for a restart: {waiting}")),
    }
}
