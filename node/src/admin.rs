//! The admin server: health, metrics, status and a page, over HTTP, for the addresses it is told to answer.
//!
//! | path | what it answers |
//! |---|---|
//! | `/` | a page that shows the status live, with `/page.css`, `/page.js` and `/icon.svg` |
//! | `/healthz` | `ok`, or 503 while the node drains |
//! | `/metrics` | Prometheus text |
//! | `/api/status` | [`Status`](crate::status::Status) as JSON |
//! | `/api/directory` and what is below it | see [`directory::http`](crate::directory::http) |
//! | `POST /api/reload`, `POST /api/reload?dry_run=true` | [`Report`](crate::reload::Report) as JSON; asked with the header [`ASKED_BY`], which no page of another site can send |

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::{Router, serve};
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config;
use crate::directory::http::{self, Access};
use crate::reload::Reloader;
use crate::status::Registry;

const PAGE: &str = include_str!("admin/page.html");
const STYLE: &str = include_str!("admin/page.css");
const SCRIPT: &str = include_str!("admin/page.js");
const ICON: &str = include_str!("admin/icon.svg");
/// The page takes everything from this server, and nothing that stands in a status is ever run.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'";
/// The format's version is part of its name.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a request that changes something has among its headers.
pub const ASKED_BY: &str = "x-smartswitch";

/// What the server shows and steers.
pub struct Parts {
    /// What counts.
    pub registry: Arc<Registry>,
    /// What reads the configuration again.
    pub reloader: Arc<Reloader>,
    /// The node's part in the directory.
    pub directory: Access,
}

#[derive(Clone)]
struct Admin {
    registry: Arc<Registry>,
    reloader: Arc<Reloader>,
    allow: Arc<[IpNet]>,
    draining: watch::Receiver<bool>,
}

/// Serves on `listener` until `draining` turns true and the open requests are answered.
///
/// # Errors
/// If the listener breaks.
pub async fn run(
    listener: TcpListener,
    parts: Parts,
    allow: Vec<IpNet>,
    draining: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut drained = draining.clone();
    let Parts { registry, reloader, directory } = parts;
    let admin = Admin { registry, reloader, allow: allow.into(), draining };
    let service = router(admin, directory).into_make_service_with_connect_info::<SocketAddr>();
    let until = async move { _ = drained.wait_for(|draining| *draining).await };
    serve(listener, service).with_graceful_shutdown(until).await
}

fn router(admin: Admin, directory: Access) -> Router {
    let own = Router::new()
        .route("/", get(page))
        .route("/page.css", get(|| asset("text/css", STYLE)))
        .route("/page.js", get(|| asset("text/javascript", SCRIPT)))
        .route("/icon.svg", get(|| asset("image/svg+xml", ICON)))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .route("/api/status", get(status))
        .route("/api/reload", post(reload))
        .with_state(admin.clone());
    own.merge(http::router(directory)).layer(middleware::from_fn_with_state(admin, check_client))
}

async fn check_client(
    State(admin): State<Admin>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if config::is_allowed(&admin.allow, client.ip()) {
        return next.run(request).await;
    }
    let reason = format!("{} is not in `allow` of [admin]\n", client.ip());
    (StatusCode::FORBIDDEN, reason).into_response()
}

async fn page() -> Response {
    ([(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)], Html(PAGE)).into_response()
}

/// A part of the page. Browsers ask again each time, so that all parts are of one version.
async fn asset(content_type: &'static str, content: &'static str) -> Response {
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-cache")], content).into_response()
}

async fn health(State(admin): State<Admin>) -> Response {
    if *admin.draining.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    "ok\n".into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], admin.registry.metrics().render()).into_response()
}

#[derive(serde::Deserialize)]
struct ReloadQuery {
    #[serde(default)]
    dry_run: bool,
}

async fn reload(
    State(admin): State<Admin>,
    Query(query): Query<ReloadQuery>,
    headers: HeaderMap,
) -> Response {
    if !headers.contains_key(ASKED_BY) {
        let reason =
            format!("a reload is asked for with a header `{ASKED_BY}`, as `smartswitch reload` does\n");
        return (StatusCode::FORBIDDEN, reason).into_response();
    }
    let reloaded = tokio::task::spawn_blocking(move || admin.reloader.reload(query.dry_run)).await;
    match reloaded {
        Ok(Ok(report)) => Json(report).into_response(),
        Ok(Err(error)) => (StatusCode::CONFLICT, format!("{error}\n")).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the reload ended in a panic\n").into_response(),
    }
}

async fn status(State(admin): State<Admin>) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(admin.registry.status())).into_response()
}
