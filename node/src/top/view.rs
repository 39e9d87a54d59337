//! The view: one screen, from the whole to the parts.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Sparkline};

use super::rates::Rates;
use crate::config::ByteSize;
use crate::status::{EmbeddedStatus, LeadStatus, PoolStatus, RouteStatus, Status};

/// Draws everything. `wrong` says why the status is not new.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    status: &Status,
    rates: &Rates,
    wrong: Option<&str>,
    history: &[u64],
) {
    let [head, graph, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(7),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Line::from(headline(status)).bold(), head);

    let title = format!(" {} requests/s ", count(rates.requests));
    let newest = &history[history.len().saturating_sub(usize::from(graph.width.saturating_sub(2)))..];
    let graph_widget = Sparkline::default().data(newest).style(Style::new().fg(Color::Cyan));
    frame.render_widget(graph_widget.block(Block::bordered().title(title)), graph);

    let lines: Vec<Line<'_>> = lines(status, rates).into_iter().skip(1).map(paint).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered()), body);
    let foot_line = match wrong {
        Some(wrong) => Line::from(wrong.to_owned()).fg(Color::Red),
        None => Line::from("q quits").dim(),
    };
    frame.render_widget(foot_line, foot);
}

fn paint(line: String) -> Line<'static> {
    if line.contains("EJECTED") || line.contains("DOWN") {
        return Line::from(line).fg(Color::Red);
    }
    if line.starts_with(' ') { Line::from(line) } else { Line::from(line).bold() }
}

/// Everything as lines of text.
pub(super) fn lines(status: &Status, rates: &Rates) -> Vec<String> {
    let mut lines = vec![headline(status), format!("{} requests/s", count(rates.requests))];
    if let Some(embedded) = &status.embedded {
        lines.extend(embedded_lines(embedded, rates));
    }
    for route in &status.routes {
        lines.extend(route_lines(route));
    }
    for pool in &status.pools {
        lines.extend(pool_lines(pool, rates));
    }
    if !status.ports.is_empty() {
        lines.push(format!("ports ({} stations)", status.stations));
    }
    for port in &status.ports {
        let of = |map: &std::collections::BTreeMap<String, f64>| {
            count(map.get(&port.name).copied().unwrap_or(0.0))
        };
        let link = if port.link { "up  " } else { "DOWN" };
        let (received, sent) = (of(&rates.received), of(&rates.transmitted));
        lines.push(format!(
            "  {:<12} {link} {received:>9} in/s {sent:>9} out/s  {} drops  {}",
            port.name, port.drops, port.device
        ));
    }
    if !status.workers.is_empty() {
        lines.push("workers".to_owned());
    }
    for worker in &status.workers {
        let drops: u64 = worker.drops.values().sum();
        lines.push(format!(
            "  worker {:<3} core {:<3} {:>5.1} % busy  {} drops",
            worker.id, worker.core, worker.busy_percent, drops
        ));
    }
    lines
}

fn headline(status: &Status) -> String {
    let uptime = status.node.uptime_seconds as u64;
    let (hours, minutes, seconds) = (uptime / 3600, uptime / 60 % 60, uptime % 60);
    format!("{}  smartswitch {}  up {hours}:{minutes:02}:{seconds:02}", status.node.name, status.node.version)
}

fn embedded_lines(embedded: &EmbeddedStatus, rates: &Rates) -> Vec<String> {
    let (used, limit) = (embedded.bytes, ByteSize(embedded.limit_bytes));
    let mut lines = vec![
        format!("embedded memcached {}", embedded.listen),
        format!(
            "  {} items, {:.1} MiB of {limit}, {} evictions, {} connections, hit ratio {}",
            embedded.curr_items,
            used as f64 / f64::from(1 << 20),
            embedded.evictions,
            embedded.connections,
            ratio(embedded.hits, embedded.misses),
        ),
    ];
    let busy = rates.commands.iter().filter(|(_, rate)| **rate > 0.0);
    lines.extend(busy.map(|(name, rate)| format!("  {name:<12} {:>9}/s", count(*rate))));
    lines
}

fn route_lines(route: &RouteStatus) -> Vec<String> {
    let headline = format!("route {} {}  {} connections", route.name, route.listen, route.connections);
    let lead = |lead: &LeadStatus| {
        let prefix = if lead.prefix.is_empty() { "(other keys)" } else { &lead.prefix };
        let failover = lead.failover.iter().map(|pool| format!(", else {pool}")).collect::<String>();
        let replicas = lead.replicas.iter().map(|pool| format!(" + {pool}")).collect::<String>();
        let warm = lead.warm_from.iter().map(|pool| format!(", filled from {pool}")).collect::<String>();
        let share = 100.0 * lead.shadow_share;
        let shadow = lead.shadow.iter().map(|pool| format!(", {share} % to {pool}, too")).collect::<String>();
        format!("  {prefix:<24} {}{replicas}{failover}{warm}{shadow}", lead.pool)
    };
    std::iter::once(headline).chain(route.leads.iter().map(lead)).collect()
}

fn pool_lines(pool: &PoolStatus, rates: &Rates) -> Vec<String> {
    let hits = pool.counters.get("hits").copied().unwrap_or(0);
    let sent: u64 = pool.servers.iter().map(|server| server.requests).sum();
    let mut lines = vec![
        format!("pool {} {}", pool.name, pool.vip),
        format!(
            "  answered here {}, cache {} values, {:.1} of {:.1} MiB",
            ratio(hits, sent),
            pool.cache.entries,
            pool.cache.bytes as f64 / f64::from(1 << 20),
            pool.cache.capacity as f64 / f64::from(1 << 20),
        ),
    ];
    for server in &pool.servers {
        let rate = rates.servers.get(&format!("{}/{}", pool.name, server.name)).copied().unwrap_or(0.0);
        let state = if server.alive { "up     " } else { "EJECTED" };
        lines.push(format!("  {:<20} {state} {:>9}/s  {}", server.name, count(rate), server.mac));
    }
    lines.extend(pool.hot_keys.iter().take(5).map(|hot| format!("  hot {:>12} hits  {}", hot.hits, hot.key)));
    lines
}

fn ratio(part: u64, rest: u64) -> String {
    match part + rest {
        0 => "-".to_owned(),
        whole => format!("{:.1} %", part as f64 * 100.0 / whole as f64),
    }
}

fn count(rate: f64) -> String {
    match rate {
        ..9_999.5 => format!("{rate:.0}"),
        ..9_999_500.0 => format!("{:.1}k", rate / 1e3),
        _ => format!("{:.1}M", rate / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{PortStatus, ServerStatus};

    fn busy() -> Status {
        let server =
            ServerStatus { name: "mc1".into(), mac: "02:00:00:00:00:01".into(), ..ServerStatus::default() };
        let port = PortStatus { name: "sw1".into(), ..PortStatus::default() };
        let pool = PoolStatus {
            name: "web".into(),
            vip: "10.0.0.100:11211".into(),
            servers: vec![server],
            ..PoolStatus::default()
        };
        Status {
            ports: vec![port],
            pools: vec![pool],
            embedded: Some(EmbeddedStatus::default()),
            ..Status::default()
        }
    }

    #[test]
    fn what_is_wrong_is_shown_on_small_and_large_terminals() {
        for (width, height) in [(1, 1), (20, 8), (120, 40)] {
            let mut terminal =
                ratatui::Terminal::new(ratatui::backend::TestBackend::new(width, height)).unwrap();
            let rates = Rates::between(&Status::default(), &busy());
            terminal.draw(|frame| draw(frame, &busy(), &rates, Some("gone"), &[1, 2, 3])).unwrap();
            if width == 120 {
                let text = terminal.backend().to_string();
                assert!(text.contains("EJECTED") && text.contains("DOWN") && text.contains("gone"), "{text}");
            }
        }
    }

    #[test]
    fn counts_are_short() {
        assert_eq!(
            [count(0.4), count(9_999.0), count(12_345.0), count(2e7)],
            ["0", "9999", "12.3k", "20.0M"]
        );
    }
}
