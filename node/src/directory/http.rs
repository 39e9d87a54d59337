//! The directory for the admin server: what `smartswitch directory` and the page ask.
//!
//! | path | what it answers |
//! |---|---|
//! | `/api/directory` | [`Overview`](view::Overview) as JSON |
//! | `/api/directory/resolve?name=NAME` | [`Resolved`](view::Resolved) as JSON; with `local=true` what this node's replica has |
//! | `/api/directory/ls?prefix=PREFIX` | a list of [`Entry`](view::Entry) as JSON; `local` likewise |
//! | `/api/directory/watch?prefix=PREFIX` | [`Told`](view::Told) as JSON, one a line, without end |
//! | `/api/directory/backup` | all of it, from all shards, for [`restore`](naming_directory_server::backup::restore) |
//! | `POST /api/directory/add-node?node=ID` | the shards; with `replace=ID` in the place of another node |
//! | `POST /api/directory/remove-node?node=ID` | the shards |
//! | `POST /api/directory/split?prefix=PREFIX` | [`Split`](split::Split) as JSON |
//!
//! What changes something is asked with the header [`ASKED_BY`]. A failure is one line of text.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use futures_util::stream;
use naming::{Name, NodeId};
use naming_directory_client::watch::Seen;
use naming_directory_client::wire::Freshness;
use naming_directory_client::{Error, ShardId};
use naming_directory_server::backup::Backup;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::members::{self, MembersError};
use super::split::{self, SplitError};
use super::{Directory, view};
use crate::admin::ASKED_BY;

/// Lines of a watch that wait for who reads them; one more ends it.
const WAITING: usize = 1024;

/// The directory, or why there is none.
#[derive(Clone)]
pub enum Access {
    /// It is there.
    Open(Arc<Directory>),
    /// It is not, for this reason.
    Absent(Arc<str>),
}

/// The paths.
pub fn router(access: Access) -> Router {
    Router::new()
        .route("/api/directory", get(overview))
        .route("/api/directory/resolve", get(resolve))
        .route("/api/directory/ls", get(list))
        .route("/api/directory/watch", get(watch))
        .route("/api/directory/backup", get(take_backup))
        .route("/api/directory/add-node", post(add_node))
        .route("/api/directory/remove-node", post(remove_node))
        .route("/api/directory/split", post(split_shard))
        .with_state(access)
}

/// Why there is no answer.
struct Failed(StatusCode, String);

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.0, format!("{}\n", self.1)).into_response()
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::NoServer { .. } | Error::NoQuorum { .. } | Error::BrokenOff { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::CONFLICT,
        };
        Self(status, error.to_string())
    }
}

impl From<MembersError> for Failed {
    fn from(error: MembersError) -> Self {
        match error {
            MembersError::Directory(error) => error.into(),
            error => Self(StatusCode::CONFLICT, error.to_string()),
        }
    }
}

impl From<SplitError> for Failed {
    fn from(error: SplitError) -> Self {
        match error {
            SplitError::Directory(error) => error.into(),
            error @ SplitError::Headless { .. } => Self(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            error => Self(StatusCode::CONFLICT, error.to_string()),
        }
    }
}

impl Access {
    /// The directory, if it is there.
    pub fn directory(&self) -> Option<&Arc<Directory>> {
        match self {
            Self::Open(directory) => Some(directory),
            Self::Absent(_) => None,
        }
    }

    fn open(&self) -> Result<&Arc<Directory>, Failed> {
        match self {
            Self::Open(directory) => Ok(directory),
            Self::Absent(reason) => Err(Failed(StatusCode::NOT_FOUND, reason.to_string())),
        }
    }
}

#[derive(Deserialize)]
struct Asked {
    #[serde(alias = "prefix", default)]
    name: String,
    #[serde(default)]
    local: bool,
}

impl Asked {
    fn name(&self) -> Result<Name, Failed> {
        let wrong = |error| Failed(StatusCode::BAD_REQUEST, format!("`{}` is no name: {error}", self.name));
        self.name.parse().map_err(wrong)
    }

    fn freshness(&self) -> Freshness {
        if self.local { Freshness::Local } else { Freshness::Linearizable }
    }
}

async fn overview(State(access): State<Access>) -> Result<Response, Failed> {
    let directory = access.open()?;
    let overview = view::overview(&directory.client, directory.node, directory.peers()).await;
    let overview = view::Overview { waits: directory.waits(), ..overview };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(overview)).into_response())
}

async fn resolve(State(access): State<Access>, Query(asked): Query<Asked>) -> Result<Response, Failed> {
    let (directory, name) = (access.open()?, asked.name()?);
    let resolutions = directory.client.resolve(&[name.as_name()], asked.freshness()).await?;
    let resolution = resolutions.into_iter().next().unwrap_or_default();
    Ok(Json(view::resolved(name.as_name(), &resolution)).into_response())
}

async fn list(State(access): State<Access>, Query(asked): Query<Asked>) -> Result<Response, Failed> {
    let (directory, name) = (access.open()?, asked.name()?);
    let (events, _) = directory.client.list(name.as_name(), asked.freshness()).await?;
    Ok(Json(events.iter().map(view::entry).collect::<Vec<_>>()).into_response())
}

async fn watch(State(access): State<Access>, Query(asked): Query<Asked>) -> Result<Response, Failed> {
    let (directory, name) = (access.open()?, asked.name()?);
    let (lines, told) = mpsc::channel(WAITING);
    let seen = move |seen| {
        if matches!(&seen, Seen::Changes { events, .. } if events.is_empty()) {
            // Whoever asked may have gone.
            return !lines.is_closed();
        }
        let mut line = serde_json::to_vec(&view::told(seen)).unwrap_or_default();
        line.push(b'\n');
        lines.try_send(Ok::<_, Infallible>(line)).is_ok()
    };
    directory.client.watch(name, seen).await?;
    let lines = stream::unfold(told, |mut told| async move { Some((told.recv().await?, told)) });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

async fn take_backup(State(access): State<Access>) -> Result<Response, Failed> {
    let backup = Backup::begin(access.open()?.client.clone()).await?;
    let parts = stream::unfold(backup, |mut backup| async move {
        let part = backup.next().await?;
        if let Err(error) = &part {
            tracing::warn!(%error, "a backup of the directory is not finished");
            // What was written before says why, and leaves first: then the connection is cut, so that nobody takes it for whole.
            tokio::task::yield_now().await;
        }
        Some((part, backup))
    });
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(parts)).into_response())
}

#[derive(Deserialize)]
struct Change {
    node: String,
    replace: Option<String>,
}

async fn add_node(
    State(access): State<Access>,
    Query(change): Query<Change>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    changing(&headers)?;
    let (directory, node) = (access.open()?, node_id(&change.node)?);
    let replaced = change.replace.as_deref().map(node_id).transpose()?;
    Ok(shards(&members::add(&directory.client, node, replaced).await?))
}

async fn remove_node(
    State(access): State<Access>,
    Query(change): Query<Change>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    changing(&headers)?;
    let (directory, node) = (access.open()?, node_id(&change.node)?);
    Ok(shards(&members::remove(&directory.client, node).await?))
}

async fn split_shard(
    State(access): State<Access>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    changing(&headers)?;
    let (directory, at) = (access.open()?, asked.name()?);
    Ok(Json(split::split(&directory.client, at.as_name()).await?).into_response())
}

fn shards(shards: &[ShardId]) -> Response {
    Json(shards.iter().map(ShardId::to_string).collect::<Vec<_>>()).into_response()
}

/// That it is meant: no page of another site can send the header.
fn changing(headers: &HeaderMap) -> Result<(), Failed> {
    if headers.contains_key(ASKED_BY) {
        return Ok(());
    }
    let reason = format!("a change is asked for with a header `{ASKED_BY}`, as `smartswitch directory` does");
    Err(Failed(StatusCode::FORBIDDEN, reason))
}

fn node_id(text: &str) -> Result<NodeId, Failed> {
    text.parse().map_err(|error| Failed(StatusCode::BAD_REQUEST, format!("{error}")))
}
