//! The log, and traces of a sample of requests for an OpenTelemetry collector.
//!
//! The log goes to standard error from the first line on. Where traces go only the configuration says, which is read
//! later: the place for them is there from the beginning, and empty until [`Telemetry::export`] fills it.
//!
//! Spans are made of requests that came over kernel sockets, one of `1 / sample`; the packet path counts and makes none.
//! Those of pools are made after the fact, by [`proxy::Spans`](crate::proxy::Spans).
//! A thread of the exporter's own sends them in batches. When the collector does not take them they are dropped: no
//! request waits for a trace.

use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config;

/// The target of spans that are exported; the log never shows them.
pub const TRACE: &str = "trace";
/// What the instrumentation is called in traces.
const SCOPE: &str = "smartswitch";
/// How long the collector may take for a batch.
const TIMEOUT: Duration = Duration::from_secs(5);

type Traces = Option<OpenTelemetryLayer<Registry, SdkTracer>>;

/// Where traces go. Dropping it sends what is left.
pub struct Telemetry {
    traces: reload::Handle<Traces, Registry>,
    provider: Option<SdkTracerProvider>,
}

/// Traces cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot go to {collector}: {reason}; check `otlp` in [telemetry]")]
pub struct ExportError {
    collector: String,
    reason: String,
}

impl Telemetry {
    /// Starts the log, with `filter` for what it shows.
    pub fn start(filter: EnvFilter) -> Self {
        let (traces, handle) = reload::Layer::new(Traces::None);
        let log = fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .with_filter(filter)
            .with_filter(filter_fn(|metadata| metadata.target() != TRACE));
        // The filter stands outside: one inside what is reloaded would not be known to the registry.
        let traces = traces.with_filter(filter_fn(|metadata| metadata.target() == TRACE));
        tracing_subscriber::registry().with(traces).with(log).init();
        Self { traces: handle, provider: None }
    }

    /// Sends spans to a collector from now on: those of [`TRACE`], and what the tracer that is returned makes. `None` if there
    /// is no collector.
    ///
    /// # Errors
    /// If the exporter cannot be made; whether the collector is there is not tried.
    pub fn export(
        &mut self,
        config: &config::Telemetry,
        node: &str,
    ) -> Result<Option<SdkTracer>, ExportError> {
        let Some(collector) = &config.otlp else { return Ok(None) };
        let error = |reason: String| ExportError { collector: collector.clone(), reason };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{}/v1/traces", collector.trim_end_matches('/')))
            .with_timeout(TIMEOUT)
            .build()
            .map_err(|source| error(source.to_string()))?;
        let resource = Resource::builder()
            .with_service_name("smartswitch")
            .with_attribute(opentelemetry::KeyValue::new("service.instance.id", node.to_owned()))
            .build();
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        let tracer = provider.tracer(SCOPE);
        let layer = tracing_opentelemetry::layer().with_tracer(tracer.clone());
        self.traces.reload(Some(layer)).map_err(|source| error(source.to_string()))?;
        self.provider = Some(provider);
        Ok(Some(tracer))
    }
}

/// Which requests are traced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampling {
    /// One of so many; 0 for none.
    period: u32,
}

impl Sampling {
    /// One of so many requests is traced; 0 for none.
    pub fn period(self) -> u32 {
        self.period
    }

    /// What `config` asks for: none if there is no collector.
    pub fn of(config: &config::Telemetry) -> Self {
        let wanted = config.otlp.is_some() && config.sample > 0.0;
        let period = if wanted { (1.0 / config.sample).round().clamp(1.0, f64::from(u32::MAX)) } else { 0.0 };
        Self { period: period as u32 }
    }

    /// Whether this thread's next request is traced.
    pub fn picks(self) -> bool {
        thread_local! {
            static LEFT: Cell<u32> = const { Cell::new(0) };
        }
        if self.period == 0 {
            return false;
        }
        LEFT.with(|left| {
            let picks = left.get() == 0;
            left.set(if picks { self.period - 1 } else { left.get() - 1 });
            picks
        })
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take()
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_so_many_is_picked() {
        let picked = |otlp: Option<&str>, sample| {
            let sampling = Sampling::of(&config::Telemetry {
                otlp: otlp.map(str::to_owned),
                sample,
                ..config::Telemetry::default()
            });
            (0..1000).filter(|_| sampling.picks()).count()
        };
        assert_eq!(picked(Some("http://127.0.0.1:4318"), 1.0), 1000);
        assert_eq!(picked(Some("http://127.0.0.1:4318"), 0.01), 10);
        assert_eq!(picked(Some("http://127.0.0.1:4318"), 0.0), 0);
        assert_eq!(picked(None, 1.0), 0);
    }
}
