//! `smartswitch top`: the live rates of a running node, from its status.

mod rates;
mod view;

use std::error::Error;
use std::io::IsTerminal;
use std::thread;
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use crate::cli::{TopOptions, say};
use crate::status::Status;
use rates::Rates;

/// How long the node may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The node cannot be asked.
#[derive(Debug, thiserror::Error)]
enum Unreachable {
    #[error(
        "no node answers at {url}: {reason}; is it running, and is this its admin address? Give it with --admin"
    )]
    Silent { url: String, reason: String },
    #[error("{url} refuses to answer: add this machine's address to `allow` in [admin]")]
    Refused { url: String },
    #[error("{url} answers, but not as a node does ({reason}); give the node's admin address with --admin")]
    NoNode { url: String, reason: String },
}

/// Shows the rates until `q` is pressed, or once.
///
/// # Errors
/// If the node cannot be asked, or the terminal cannot be drawn on.
pub fn top(options: &TopOptions) -> Result<(), Box<dyn Error>> {
    let node = Node::new(&options.admin);
    let interval = Duration::from_secs_f64(options.interval);
    let before = node.status()?;
    if options.once {
        thread::sleep(interval);
        return print_once(options, &before, &node.status()?);
    }
    if !std::io::stdout().is_terminal() {
        return Err("standard output is no terminal; use `smartswitch top --once`".into());
    }
    let mut terminal = ratatui::try_init()?;
    let outcome = watch(&mut terminal, &node, before, interval);
    ratatui::restore();
    outcome
}

fn print_once(options: &TopOptions, before: &Status, after: &Status) -> Result<(), Box<dyn Error>> {
    let rates = Rates::between(before, after);
    if options.json {
        let json = serde_json::to_string_pretty(&serde_json::json!({ "rates": rates, "status": after }))?;
        say(format_args!("{json}"));
    } else {
        view::lines(after, &rates).iter().for_each(|line| say(format_args!("{line}")));
    }
    Ok(())
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    node: &Node,
    mut before: Status,
    interval: Duration,
) -> Result<(), Box<dyn Error>> {
    let mut shown = (before.clone(), Rates::default(), None);
    let mut history = Vec::new();
    loop {
        terminal.draw(|frame| view::draw(frame, &shown.0, &shown.1, shown.2.as_deref(), &history))?;
        let next = Instant::now() + interval;
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            if event::poll(left)? && is_quit(&event::read()?) {
                return Ok(());
            }
        }
        // A node that restarts comes back: the last view stays, with what is wrong above it.
        match node.status() {
            Ok(status) => {
                let rates = Rates::between(&before, &status);
                history.push(rates.requests.round() as u64);
                shown = (status.clone(), rates, None);
                before = status;
            }
            Err(error) => shown.2 = Some(error.to_string()),
        }
    }
}

fn is_quit(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press && (interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

/// The node's admin server.
struct Node {
    url: String,
    agent: ureq::Agent,
}

impl Node {
    fn new(admin: &str) -> Self {
        let scheme = if admin.contains("://") { "" } else { "http://" };
        let url = format!("{scheme}{}/api/status", admin.trim_end_matches('/'));
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
        Self { url, agent: config.build().new_agent() }
    }

    fn status(&self) -> Result<Status, Unreachable> {
        let url = || self.url.clone();
        let silent = |error: ureq::Error| Unreachable::Silent { url: url(), reason: error.to_string() };
        let mut response = self.agent.get(&self.url).call().map_err(silent)?;
        match response.status().as_u16() {
            200 => {}
            403 => return Err(Unreachable::Refused { url: url() }),
            other => return Err(Unreachable::NoNode { url: url(), reason: format!("status {other}") }),
        }
        let no_node = |error: ureq::Error| Unreachable::NoNode { url: url(), reason: error.to_string() };
        response.body_mut().read_json().map_err(no_node)
    }
}
