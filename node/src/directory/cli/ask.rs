//! Asks the admin server of a node.

use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::Body;
use ureq::http::Response;

use crate::admin::ASKED_BY;

/// How long a node may take to answer: longer than its own requests to the directory.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a change of members may take.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The admin server of a node.
pub(super) struct Admin {
    url: String,
}

impl Admin {
    pub(super) fn new(admin: &str) -> Self {
        let scheme = if admin.contains("://") { "" } else { "http://" };
        Self { url: format!("{scheme}{}/api/directory", admin.trim_end_matches('/')) }
    }

    /// What it answers as JSON.
    pub(super) fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, Box<dyn Error>> {
        let request = agent(Some(TIMEOUT)).get(format!("{}{path}", self.url)).query_pairs(pairs(query));
        json(self.answer(request.call())?)
    }

    /// Has it change something.
    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, Box<dyn Error>> {
        let request = agent(Some(PATIENCE)).post(format!("{}{path}", self.url)).query_pairs(pairs(query));
        json(self.answer(request.header(ASKED_BY, "directory").send_empty())?)
    }

    /// What it answers as bytes, for as long as it takes.
    pub(super) fn open(&self, path: &str, query: &[(&str, String)]) -> Result<impl Read, Box<dyn Error>> {
        let request = agent(None).get(format!("{}{path}", self.url)).query_pairs(pairs(query));
        Ok(self.answer(request.call())?.into_body().into_reader())
    }

    /// What it answers line by line, until it ends.
    pub(super) fn lines(
        &self,
        path: &str,
        query: &[(&str, String)],
        mut take: impl FnMut(&str) -> Result<(), Box<dyn Error>>,
    ) -> Result<(), Box<dyn Error>> {
        // A node that ends closes the connection, not always by the book.
        for line in BufReader::new(self.open(path, query)?).lines().map_while(Result::ok) {
            take(&line)?;
        }
        Ok(())
    }

    fn answer(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Box<dyn Error>> {
        let url = &self.url;
        let mut response = answer.map_err(|error| {
            format!(
                "no node answers at {url}: {error}; is it running, and is --admin its `listen` in [admin]?"
            )
        })?;
        match response.status().as_u16() {
            200 => Ok(response),
            _ => Err(response.body_mut().read_to_string()?.trim().into()),
        }
    }
}

fn agent(timeout: Option<Duration>) -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(timeout).http_status_as_error(false).build().into()
}

fn pairs<'q>(query: &'q [(&str, String)]) -> impl Iterator<Item = (&'q str, &'q str)> {
    query.iter().map(|(key, value)| (*key, value.as_str()))
}

fn json<T: DeserializeOwned>(mut response: Response<Body>) -> Result<T, Box<dyn Error>> {
    Ok(response.body_mut().with_config().limit(u64::MAX).read_json()?)
}
