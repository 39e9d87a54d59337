//! Spans for a collector, out of the [traces](memcached_bridge::proxy::trace) of a thread's proxy.
//!
//! A span of kind `server` for each request, with one of kind `client` in it for each server that was asked. They are made when the
//! request is over, with the times that the proxy has noted: a span that is open while others are served would cost those
//! that are not traced, too. Names of attributes follow OpenTelemetry's conventions for databases where there are some.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use fabric::time::Nanos;
use memcached_bridge::proxy::Outcome;
use memcached_bridge::proxy::trace::{Share, Trace};
use opentelemetry::trace::{Span, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;

use crate::config::{self, TracedKeys};
use crate::telemetry::Sampling;

/// Where spans go, and which requests have some.
#[derive(Clone, Debug)]
pub struct Spans {
    tracer: SdkTracer,
    sampling: Sampling,
    keys: TracedKeys,
}

/// What the shell knows of a trace and the proxy does not.
pub(super) struct Setting<'a> {
    pub(super) pool: &'a config::Pool,
    /// Of each share, where the server is.
    pub(super) server_of: &'a dyn Fn(&Share) -> Option<&'a config::Server>,
    /// If it is still connected.
    pub(super) client: Option<IpAddr>,
    pub(super) now: Nanos,
}

impl Spans {
    /// Spans by `tracer`, of what `config` asks for.
    pub fn new(tracer: SdkTracer, config: &config::Telemetry) -> Self {
        Self { tracer, sampling: Sampling::of(config), keys: config.keys }
    }

    /// One of so many requests is traced; 0 for none.
    pub(super) fn period(&self) -> u32 {
        self.sampling.period()
    }

    /// Sends the spans of `trace`.
    pub(super) fn send(&self, trace: &Trace, setting: &Setting<'_>) {
        let at = wall_clock(setting.now);
        let builder = SpanBuilder::from_name(format!("{} {}", trace.verb.name(), setting.pool.name))
            .with_kind(SpanKind::Server)
            .with_start_time(at(trace.began))
            .with_attributes(self.attributes(trace, setting));
        let mut request = self.tracer.build_with_context(builder, &Context::new());
        set_status(&mut request, trace.outcome);
        let within = Context::new().with_remote_span_context(request.span_context().clone());
        for share in &trace.shares {
            let mut attributes = vec![
                KeyValue::new("db.system.name", "memcached"),
                KeyValue::new("db.operation.name", trace.verb.name()),
                KeyValue::new("memcached.outcome", share.outcome.name()),
                KeyValue::new("memcached.repeats", i64::from(share.repeats)),
            ];
            attributes.extend(address(setting, share));
            let builder = SpanBuilder::from_name(trace.verb.name())
                .with_kind(SpanKind::Client)
                .with_start_time(at(share.sent))
                .with_attributes(attributes);
            let mut asked = self.tracer.build_with_context(builder, &within);
            set_status(&mut asked, Some(share.outcome));
            asked.end_with_timestamp(at(share.ended.unwrap_or(trace.ended)));
        }
        request.end_with_timestamp(at(trace.ended));
    }

    fn attributes(&self, trace: &Trace, setting: &Setting<'_>) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new("db.system.name", "memcached"),
            KeyValue::new("db.operation.name", trace.verb.name()),
            KeyValue::new("network.transport", "tcp"),
            KeyValue::new("memcached.pool", setting.pool.name.clone()),
            KeyValue::new("memcached.outcome", trace.outcome.map_or("client_left", Outcome::name)),
            KeyValue::new("memcached.cache_hits", integer(trace.hits)),
            KeyValue::new("memcached.keys", integer(trace.keys)),
            KeyValue::new("memcached.servers", integer(trace.servers)),
            KeyValue::new("memcached.bytes_read", integer(trace.request_bytes)),
            KeyValue::new("memcached.bytes_written", integer(trace.reply_bytes)),
        ];
        if trace.keys > 0 {
            attributes.push(match self.keys {
                TracedKeys::Hash => KeyValue::new("memcached.key_hash", format!("{:016x}", trace.key_hash)),
                TracedKeys::Plain => KeyValue::new("memcached.key", trace.key.escape_ascii().to_string()),
            });
        }
        attributes.extend(setting.client.map(|client| KeyValue::new("client.address", client.to_string())));
        if let [share] = trace.shares.as_slice() {
            attributes.extend(address(setting, share));
        }
        attributes
    }
}

/// Turns times of the node's clock, at which it is `now`, into such of the calendar.
fn wall_clock(now: Nanos) -> impl Fn(Nanos) -> SystemTime {
    let today = SystemTime::now();
    move |at| today.checked_sub(Duration::from_nanos(now.0.saturating_sub(at.0))).unwrap_or(today)
}

fn address(setting: &Setting<'_>, share: &Share) -> Option<KeyValue> {
    let server = (setting.server_of)(share)?;
    let address = server.address.clone().unwrap_or_else(|| server.name.clone());
    Some(KeyValue::new("server.address", address))
}

fn set_status(span: &mut impl Span, outcome: Option<Outcome>) {
    if let Some(bad @ (Outcome::Unavailable | Outcome::ServerError)) = outcome {
        span.set_status(Status::error(bad.name()));
    }
}

fn integer(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
